-- Order per key: events of one ordering key take effect one after another.
--
-- Only one event of a key is on its way at a time: it has the key's turn. The
-- relay moves what comes before its turn out of the hot table, to outbox_held;
-- the confirmation of an event (its row in inbox) passes the turn on, in the
-- transaction of the effect itself. Events without a key meet none of this.

-- +goose Up

CREATE SEQUENCE outbox_ordering_position;

ALTER TABLE outbox
    ADD COLUMN ordering_key text,
    ADD COLUMN ordering_position bigint,
    ADD CONSTRAINT outbox_ordering_key_is_not_blank CHECK (ordering_key COLLATE "C" ~ '[!-~]'
        OR encode(convert_to(ordering_key, 'UTF8'), 'hex') COLLATE "C" !~
           '^(0[1-9a-f]|1[0-9a-f]|20|7f|c2[89][0-9a-f]|c2a0|c2ad|cd8f|d89c|e1859f|e185a0|e19a80|e19eb[45]|e1a08[b-f]|e2808[0-9a-f]|e280a[89a-f]|e2819f|e281a[0-9a-f]|e2a080|e38080|e385a4|efb88[0-9a-f]|efbbbf|efbea0)*$'),
    ADD CONSTRAINT outbox_ordering_key_has_at_most_255_bytes CHECK (octet_length(convert_to(ordering_key, 'UTF8')) <= 255),
    ADD CONSTRAINT outbox_ordering_key_has_a_position CHECK ((ordering_key IS NULL) = (ordering_position IS NULL));
ALTER TABLE outbox_sent ADD COLUMN ordering_key text, ADD COLUMN ordering_position bigint;
ALTER TABLE outbox_dead ADD COLUMN ordering_key text, ADD COLUMN ordering_position bigint;

-- For whether an earlier event of a key still waits to be claimed.
CREATE INDEX outbox_key ON outbox (ordering_key, ordering_position) WHERE ordering_key IS NOT NULL;

-- The position within a key is taken from a sequence when the row is written:
-- a clock can step back, and now() is when the transaction began. Only rows with
-- a key take one. SECURITY DEFINER: producers need no right on the sequence.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_take_position() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    NEW.ordering_position := nextval('outbox_ordering_position');
    RETURN NEW;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE TRIGGER outbox_take_position BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.ordering_key IS NOT NULL AND NEW.ordering_position IS NULL)
    EXECUTE FUNCTION outbox_take_position();

-- Events whose turn has not come, with every column that they go back with.
CREATE TABLE outbox_held (
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
    ordering_key      text        NOT NULL,
    ordering_position bigint      NOT NULL,
    held_at           timestamptz NOT NULL DEFAULT now()
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX outbox_held_key ON outbox_held (ordering_key, ordering_position);

-- Whose turn it is, for every key of which an event is on its way: in the
-- outbox, in Redis, or, where dead letters hold their keys, dead. Whoever needs
-- rows of both tables locks the turn first.
CREATE TABLE outbox_turns (
    ordering_key text        PRIMARY KEY,
    event_id     uuid        NOT NULL UNIQUE,
    taken_at     timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

-- The first held event of a key, unless an earlier one is still to be claimed
-- from the outbox: whoever claims that one will hold it and ask again. Both
-- tables are read by one statement, so that an event which is just being moved
-- is seen in one of them. An event that still has the turn does not count: its
-- effect may be committed before the claim that sent it.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_next_of_key(key text, but uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
    SELECT h.id
    FROM (SELECT id, ordering_position FROM outbox_held WHERE ordering_key = key ORDER BY ordering_position LIMIT 1) h
    WHERE NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.ordering_key = key AND o.ordering_position < h.ordering_position AND o.id IS DISTINCT FROM but)
$$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_absorb takes a held event away that repeats one which is on its way: the
-- first one counts.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_absorb(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    WITH repeats AS (DELETE FROM outbox_held WHERE id = event RETURNING event_type, created_at)
    INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM repeats;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_let_go moves a held event back to the outbox. It is due from now on,
-- not since it was written: the relay's cursor may have passed that. Returns
-- false if the event is not on its way then: it is no longer held, or the outbox
-- refused it and it is a dead letter.
--
-- If the producer has written the event once more meanwhile, the repeat gives
-- way. One that is just being claimed is not waited for, since this may be a
-- consumer's commit: the event stays held, with its turn, and whoever claims the
-- repeat, or the housekeeper, asks again.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_let_go(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
DECLARE
    moving text := coalesce(current_setting('outboxd.moving', true), '');
    moved integer;
    place tid;
BEGIN
    PERFORM set_config('outboxd.moving', 'on', true);
    WITH repeats AS (
        DELETE FROM outbox WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox WHERE id = event FOR UPDATE SKIP LOCKED))
        RETURNING event_type, created_at
    )
    INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM repeats;
    IF EXISTS (SELECT FROM outbox WHERE id = event) THEN
        PERFORM set_config('outboxd.moving', moving, true);
        RETURN true;
    END IF;
    BEGIN
        WITH gone AS (
            DELETE FROM outbox_held WHERE id = event RETURNING *
        ), back AS (
            INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
                                unique_seconds, available_at, attempts, generation, last_error, created_at, ordering_key, ordering_position)
            SELECT id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
                   unique_seconds, greatest(available_at, clock_timestamp()), attempts, generation, last_error, created_at,
                   ordering_key, ordering_position
            FROM gone
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        ), repeats AS (
            INSERT INTO outbox_entries (event_type, created_at, repeated)
            SELECT event_type, created_at, 1 FROM gone WHERE NOT EXISTS (SELECT FROM back)
        )
        SELECT count(*) INTO moved FROM gone;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR raise_exception THEN
        moved := 0;
        SELECT ctid INTO place FROM outbox_held WHERE id = event FOR UPDATE;
        IF FOUND THEN
            PERFORM outbox_set_aside('outbox_held', place, SQLERRM);
        END IF;
    END;
    PERFORM set_config('outboxd.moving', moving, true);
    RETURN moved > 0;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_pass_turn ends an event's turn and gives it to the next of its key, if
-- one waits. It does nothing if the event does not have the turn.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_pass_turn(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
DECLARE
    key text;
    next uuid;
    tried uuid;
BEGIN
    SELECT ordering_key INTO key FROM outbox_turns WHERE event_id = event FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    LOOP
        next := outbox_next_of_key(key, event);
        -- What can neither go nor be set aside is met again.
        EXIT WHEN next IS NULL OR next IS NOT DISTINCT FROM tried;
        tried := next;
        IF EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = next AND t.ordering_key <> key) THEN
            PERFORM outbox_absorb(next);
        ELSIF outbox_let_go(next) THEN
            UPDATE outbox_turns SET event_id = next, taken_at = clock_timestamp() WHERE ordering_key = key;
            RETURN;
        END IF;
    END LOOP;
    DELETE FROM outbox_turns WHERE ordering_key = key;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_advance sees to it that of each of the keys one event is on its way,
-- and returns of how many it let one go. It is called for the keys of a batch when it has
-- been committed. An event of it may have been confirmed long before, and that
-- confirmation does not come again.
--
-- ON CONFLICT DO UPDATE, though it never updates, waits for whoever is just
-- passing the turn on; DO NOTHING would take the turn that is about to end for
-- one that lasts, and the event would wait for ever. The keys are taken in
-- order, so that two callers do not wait for each other.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_advance(keys text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
DECLARE
    key text;
    owner uuid;
    next uuid;
    advanced integer := 0;
BEGIN
    FOR key IN SELECT DISTINCT k FROM unnest(keys) AS k ORDER BY k LOOP
        SELECT event_id INTO owner FROM outbox_turns JOIN inbox USING (event_id) WHERE ordering_key = key;
        IF FOUND THEN
            PERFORM outbox_pass_turn(owner);
            advanced := advanced + 1;
            CONTINUE;
        END IF;
        LOOP
            next := outbox_next_of_key(key, NULL);
            EXIT WHEN next IS NULL;
            INSERT INTO outbox_turns AS t (ordering_key, event_id) VALUES (key, next)
            ON CONFLICT (ordering_key) DO UPDATE SET event_id = t.event_id WHERE false;
            EXIT WHEN NOT FOUND;
            IF outbox_let_go(next) THEN
                advanced := advanced + 1;
                EXIT;
            END IF;
            DELETE FROM outbox_turns WHERE ordering_key = key;
        END LOOP;
    END LOOP;
    RETURN advanced;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- Confirming passes the turn on, as the last step of the consumer's
-- transaction: what it locks is locked for as long as the commit takes, and not
-- while the handler works. Almost every event has no key and costs one look into
-- a small index; so the function does without a search_path of its own, which
-- would be set and reset each time, and names everything in full instead.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_confirmed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM %1$I.outbox_turns WHERE event_id OPERATOR(pg_catalog.=) NEW.event_id;
    IF FOUND THEN
        PERFORM %1$I.outbox_pass_turn(NEW.event_id);
    END IF;
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER outbox_confirmed AFTER INSERT ON inbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox_confirmed();

-- outbox_confirm is for consumers that are not outboxd's: called in the
-- transaction of the effect, it returns true the first time, and false if the
-- event took effect before, in which case the effect must not happen again. A
-- second call waits until the transaction of the first has ended.
-- SECURITY DEFINER: a consumer needs EXECUTE and no right on inbox.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_confirm(event_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_is_confirmed says whether an event took effect. It waits for a
-- transaction that is just confirming it, which a look into the inbox would not
-- see, by trying the same and undoing it.
-- SECURITY DEFINER: who asks has no business writing confirmations.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_is_confirmed(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    INSERT INTO inbox (event_id) VALUES (event);
    RAISE SQLSTATE 'OB001';
EXCEPTION
    WHEN unique_violation THEN RETURN true;
    WHEN SQLSTATE 'OB001' THEN RETURN false;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_lock_key makes the transactions that write events of one key follow
-- one another until they end: the order of a key's events is then the order in
-- which their transactions commit. Call it before the first event of the key.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_lock_key(key text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = %1$I, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(%1$L || ' ' || key, 7306087318))
$$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_emit again, with a key. in_commit_order locks the key first.
DROP FUNCTION outbox_emit;
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_emit(
    event_type        text,
    payload           jsonb,
    headers           jsonb       DEFAULT '{}',
    queue             text        DEFAULT 'default',
    available_at      timestamptz DEFAULT now(),
    max_retry         integer     DEFAULT NULL,
    timeout_seconds   integer     DEFAULT NULL,
    deadline          timestamptz DEFAULT NULL,
    retention_seconds integer     DEFAULT NULL,
    unique_seconds    integer     DEFAULT NULL,
    ordering_key      text        DEFAULT NULL,
    in_commit_order   boolean     DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    event_id uuid := %1$I.outbox_new_id();
BEGIN
    IF in_commit_order AND $11 IS NOT NULL THEN
        PERFORM %1$I.outbox_lock_key($11);
    END IF;
    INSERT INTO %1$I.outbox (id, event_type, payload, headers, queue, available_at, max_retry,
                        timeout_seconds, deadline, retention_seconds, unique_seconds, ordering_key)
    VALUES (event_id, $1, convert_to($2::text, 'UTF8'), $3, $4, $5, $6, $7, $8, $9, $10, $11);
    RETURN event_id;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_emit;
DROP FUNCTION outbox_lock_key;
DROP FUNCTION outbox_is_confirmed;
DROP FUNCTION outbox_confirm;
DROP TRIGGER outbox_confirmed ON inbox;
DROP FUNCTION outbox_confirmed;
DROP FUNCTION outbox_advance;
DROP FUNCTION outbox_pass_turn;
DROP FUNCTION outbox_let_go;
DROP FUNCTION outbox_absorb;
DROP FUNCTION outbox_next_of_key;
DROP TABLE outbox_turns;
-- What was held goes on without its order rather than not at all.
INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
                    unique_seconds, available_at, attempts, generation, last_error, created_at)
SELECT id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
       unique_seconds, available_at, attempts, generation, last_error, created_at
FROM outbox_held;
DROP TABLE outbox_held;
DROP TRIGGER outbox_take_position ON outbox;
DROP FUNCTION outbox_take_position;
ALTER TABLE outbox_dead DROP COLUMN ordering_key, DROP COLUMN ordering_position;
ALTER TABLE outbox_sent DROP COLUMN ordering_key, DROP COLUMN ordering_position;
ALTER TABLE outbox DROP COLUMN ordering_key, DROP COLUMN ordering_position;
DROP SEQUENCE outbox_ordering_position;
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_emit(
    event_type        text,
    payload           jsonb,
    headers           jsonb       DEFAULT '{}',
    queue             text        DEFAULT 'default',
    available_at      timestamptz DEFAULT now(),
    max_retry         integer     DEFAULT NULL,
    timeout_seconds   integer     DEFAULT NULL,
    deadline          timestamptz DEFAULT NULL,
    retention_seconds integer     DEFAULT NULL,
    unique_seconds    integer     DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    event_id uuid := %1$I.outbox_new_id();
BEGIN
    INSERT INTO %1$I.outbox (id, event_type, payload, headers, queue, available_at, max_retry,
                        timeout_seconds, deadline, retention_seconds, unique_seconds)
    VALUES (event_id, $1, convert_to($2::text, 'UTF8'), $3, $4, $5, $6, $7, $8, $9, $10);
    RETURN event_id;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd
