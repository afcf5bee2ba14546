-- The outbox: events that wait to be handed to Asynq, what makes their IDs,
-- and what wakes the relay.
--
-- PostgreSQL 13 or newer, no extension. Every function pins the schema that it
-- was created in, because producers may run under any search_path.

-- +goose Up

-- +goose StatementBegin
-- outbox_new_id returns a UUID of version 7 (RFC 9562, section 5.7): 48 bits of
-- Unix milliseconds, the version, 12 bits of the millisecond's fraction (method
-- 3 of section 6.2), then 62 random bits below the variant. Time-ordered, so
-- that the primary key grows at one end; random, so that IDs made by a restored
-- or recreated database never meet old tasks in Redis.
CREATE FUNCTION outbox_new_id() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
    micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    RETURN encode(overlay(
        uuid_send(gen_random_uuid()) -- brings the variant along
        PLACING int8send(micros / 1000 << 16 | x'7000'::bigint | micros % 1000 * 4096 / 1000)
        FROM 1), 'hex')::uuid;
END $$;
-- +goose StatementEnd

-- The table holds pending events only. Every row is inserted once and deleted
-- once, so vacuum has to keep up with the rate, not with the size: a fixed
-- threshold, and no cost delay.
CREATE TABLE outbox (
    id                uuid        NOT NULL DEFAULT outbox_new_id(),
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}',
    queue             text        NOT NULL DEFAULT 'default',
    max_retry         integer,
    timeout_seconds   integer,
    deadline          timestamptz,
    retention_seconds integer,
    unique_seconds    integer,
    available_at      timestamptz NOT NULL DEFAULT now(),
    attempts          integer     NOT NULL DEFAULT 0,
    generation        integer     NOT NULL DEFAULT 0,
    last_error        text,
    created_at        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    -- What could never be delivered is refused here, in the producer's own
    -- transaction, where the mistake is. The constraint's name is the message.
    --
    -- The zero UUID stands for no event.
    CONSTRAINT outbox_id_is_not_zero CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    -- Blank is what shows nothing: white space, no-break and zero-width spaces,
    -- controls, fillers, in whatever order. Almost every name has a visible
    -- ASCII character, which ends the question. The others are compared as the
    -- hexadecimal form of their UTF-8, so that neither the database's encoding
    -- and locale nor the session's string syntax has a say.
    CONSTRAINT outbox_event_type_is_not_blank CHECK (event_type COLLATE "C" ~ '[!-~]'
        OR encode(convert_to(event_type, 'UTF8'), 'hex') COLLATE "C" !~
           '^(0[1-9a-f]|1[0-9a-f]|20|7f|c2[89][0-9a-f]|c2a0|c2ad|cd8f|d89c|e1859f|e185a0|e19a80|e19eb[45]|e1a08[b-f]|e2808[0-9a-f]|e280a[89a-f]|e2819f|e281a[0-9a-f]|e2a080|e38080|e385a4|efb88[0-9a-f]|efbbbf|efbea0)*$'),
    CONSTRAINT outbox_event_type_has_at_most_255_bytes CHECK (octet_length(convert_to(event_type, 'UTF8')) <= 255),
    CONSTRAINT outbox_queue_is_not_blank CHECK (queue COLLATE "C" ~ '[!-~]'
        OR encode(convert_to(queue, 'UTF8'), 'hex') COLLATE "C" !~
           '^(0[1-9a-f]|1[0-9a-f]|20|7f|c2[89][0-9a-f]|c2a0|c2ad|cd8f|d89c|e1859f|e185a0|e19a80|e19eb[45]|e1a08[b-f]|e2808[0-9a-f]|e280a[89a-f]|e2819f|e281a[0-9a-f]|e2a080|e38080|e385a4|efb88[0-9a-f]|efbbbf|efbea0)*$'),
    CONSTRAINT outbox_queue_has_at_most_255_bytes CHECK (octet_length(convert_to(queue, 'UTF8')) <= 255),
    CONSTRAINT outbox_payload_has_at_most_1_MiB CHECK (octet_length(payload) <= 1048576),
    CONSTRAINT outbox_headers_map_strings_to_strings CHECK (
        jsonb_typeof(headers) = 'object'
        AND NOT jsonb_path_exists(headers, 'strict $.* ? (@.type() != "string")')),
    CONSTRAINT outbox_headers_have_at_most_64_kib CHECK (pg_column_size(headers) <= 65536),
    CONSTRAINT outbox_max_retry_is_not_negative CHECK (max_retry >= 0),
    CONSTRAINT outbox_timeout_seconds_is_positive CHECK (timeout_seconds > 0),
    CONSTRAINT outbox_retention_seconds_is_not_negative CHECK (retention_seconds >= 0),
    CONSTRAINT outbox_unique_seconds_is_positive CHECK (unique_seconds > 0),
    CONSTRAINT outbox_attempts_is_not_negative CHECK (attempts >= 0),
    CONSTRAINT outbox_attempts_is_at_most_1000000000 CHECK (attempts <= 1000000000),
    CONSTRAINT outbox_generation_is_not_negative CHECK (generation >= 0),
    CONSTRAINT outbox_generation_is_at_most_1000000000 CHECK (generation <= 1000000000),
    CONSTRAINT outbox_last_error_has_at_most_8_kib CHECK (octet_length(last_error) <= 8192),
    -- An infinite time can be stored and never be waited for. The other times are
    -- those that JSON, and the formats of RFC 3339, can carry. To Asynq a deadline
    -- of 1970 may be none.
    CONSTRAINT outbox_available_at_is_finite CHECK (isfinite(available_at)),
    CONSTRAINT outbox_available_at_is_in_years_1_to_9999
        CHECK (available_at >= '0001-01-01 00:00:00+00' AND available_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT outbox_created_at_is_in_years_1_to_9999
        CHECK (created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT outbox_deadline_is_finite CHECK (isfinite(deadline)),
    CONSTRAINT outbox_deadline_is_in_years_1971_to_9999
        CHECK (deadline >= '1971-01-01 00:00:00+00' AND deadline < '10000-01-01 00:00:00+00')
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

-- The claim reads due rows oldest first, and nothing else: id makes the order
-- total, so that the place reached can be named.
CREATE INDEX outbox_due ON outbox (available_at, id);

-- One row per relay process. A relay that marks itself asleep asks producers
-- to notify it; see outbox_wake.
CREATE TABLE outbox_relays (
    id         uuid        PRIMARY KEY,
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    version    text        NOT NULL,
    asleep     boolean     NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- outbox_wake notifies only while some relay sleeps. A NOTIFY on every insert
-- would make commits queue behind one database-wide lock. The channel is shared
-- by the whole database, so the schema goes along as the payload.
-- SECURITY DEFINER: producers need no right on outbox_relays.
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

-- outbox_emit writes one event with a JSON payload and returns its ID. For a
-- payload of raw bytes, or for many events at once, INSERT INTO outbox.
-- Not SECURITY DEFINER: a producer needs INSERT on outbox for it.
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

-- +goose Down
DROP FUNCTION outbox_emit;
DROP TABLE outbox;
DROP FUNCTION outbox_wake;
DROP TABLE outbox_relays;
DROP FUNCTION outbox_new_id;
