-- The account: how many events were emitted, kept apart from the tables that it
-- is compared with, and what became of those whose rows are gone.

-- +goose Up

-- The entries: appended, and folded into outbox_account by the relay that keeps
-- house. No index and nothing shared: a counter that is updated would make all
-- producers wait for one another. One row per event that was emitted; rows with
-- a number are of as many that were handed to Redis while no history was kept, or
-- that repeated an event and were absorbed.
CREATE TABLE outbox_entries (
    event_type text        NOT NULL,
    created_at timestamptz NOT NULL,
    unrecorded integer,
    repeated   integer
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- What publications of logical replication tell an entry by, since it has no
-- key. It costs something only where the server's wal_level is logical, when
-- entries are deleted, and nothing when they are written.
ALTER TABLE outbox_entries REPLICA IDENTITY FULL;

-- By the UTC day on which the event was created, and by type.
CREATE TABLE outbox_account (
    day         date   NOT NULL,
    event_type  text   NOT NULL,
    emitted     bigint NOT NULL DEFAULT 0,
    confirmed   bigint NOT NULL DEFAULT 0, -- took effect, and left the history
    unconfirmed bigint NOT NULL DEFAULT 0, -- left the history without a confirmation
    unrecorded  bigint NOT NULL DEFAULT 0, -- handed to Redis while no history was kept
    discarded   bigint NOT NULL DEFAULT 0, -- by a person
    repeated    bigint NOT NULL DEFAULT 0, -- written again under the ID of another event, and absorbed by it
    suppressed  bigint NOT NULL DEFAULT 0, -- unique, and another's task stood for them; no longer kept
    PRIMARY KEY (day, event_type)
) WITH (fillfactor = 50);

-- Unique events that Redis did not take, because another task of the same type,
-- payload and queue held their lock. They are in no other table, so that nobody
-- sends them again: the other task stands for them.
CREATE TABLE outbox_suppressed (
    id                uuid        PRIMARY KEY,
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL,
    queue             text        NOT NULL,
    max_retry         integer,
    timeout_seconds   integer,
    deadline          timestamptz,
    retention_seconds integer,
    unique_seconds    integer,
    available_at      timestamptz NOT NULL,
    attempts          integer     NOT NULL,
    generation        integer     NOT NULL,
    last_error        text,
    created_at        timestamptz NOT NULL,
    ordering_key      text,
    ordering_position bigint,
    holder            text        NOT NULL, -- the ID of the other task
    suppressed_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- For trimming by age.
CREATE INDEX outbox_suppressed_at ON outbox_suppressed (suppressed_at);

-- What is there already was emitted before the account was opened. A replayed
-- event may be in the history more than once.
INSERT INTO outbox_account (day, event_type, emitted)
SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, count(DISTINCT id)
FROM (
    SELECT id, event_type, created_at FROM outbox
    UNION ALL SELECT id, event_type, created_at FROM outbox_held
    UNION ALL SELECT id, event_type, created_at FROM outbox_sent
    UNION ALL SELECT id, event_type, created_at FROM outbox_dead
) AS present
GROUP BY 1, 2;

-- outbox_written enters what a statement emitted into the account, and wakes a
-- sleeping relay as outbox_wake did. Rows that only come back, such as a refused
-- event, are marked by the setting outboxd.moving. It runs once in every
-- producer's statement, so it does without a search_path of its own, which
-- would be set and reset each time, and names everything in full instead;
-- grouping the rows here would cost more than it saves.
--
-- PostgreSQL refuses to prepare a transaction that has notified (PREPARE
-- TRANSACTION), and nothing tells here that one will be prepared. Its producer
-- says so by SET LOCAL outboxd.wake = off, and its events are found by polling.
-- SECURITY DEFINER: producers need no right on the tables.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF coalesce(pg_catalog.current_setting('outboxd.moving', true), '') OPERATOR(pg_catalog.<>) 'on' THEN
        INSERT INTO %1$I.outbox_entries SELECT event_type, created_at FROM written;
    END IF;
    IF EXISTS (SELECT FROM %1$I.outbox_relays WHERE asleep)
       AND coalesce(pg_catalog.current_setting('outboxd.wake', true), '') OPERATOR(pg_catalog.<>) 'off' THEN
        PERFORM pg_catalog.pg_notify('outbox_wake', %1$L);
    END IF;
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

DROP TRIGGER outbox_wake ON outbox;
DROP FUNCTION outbox_wake;
CREATE TRIGGER outbox_written AFTER INSERT ON outbox
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION outbox_written();

-- +goose Down
DROP TRIGGER outbox_written ON outbox;
DROP FUNCTION outbox_written;
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_wake() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM outbox_relays WHERE asleep) THEN
        PERFORM pg_notify('outbox_wake', %1$L);
    END IF;
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
DROP TABLE outbox_suppressed;
DROP TABLE outbox_account;
DROP TABLE outbox_entries;
