-- The outbox: the table of pending events, the functions with which producers write events, and the table of relays.
--
-- The migrations need PostgreSQL 13 or newer, and no extension but plpgsql, which is there by default. The migrations
-- create all objects in one schema: the first schema on the search_path of the session that migrates. Producers and
-- consumers may have any search_path. So a function that names an object of the schema sets its own search_path (FROM
-- CURRENT), which has only this schema and pg_temp. Functions that run very often write the schema before every name
-- instead, because setting a search_path costs time on every call.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- +goose StatementBegin
-- outbox_new_id returns a UUID of version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, the version, 12
-- bits for the fraction of the millisecond (method 3 of section 6.2), the variant, and 62 random bits. The IDs are
-- ordered by the server's clock, to the microsecond, so the index of the primary key grows at one end. Because of
-- the random bits, a restored or recreated database does not make the ID of an old task in Redis again.
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

-- outbox_delivery_id returns the ID of an event's delivery to a subscription. The same event and subscription
-- always give the same ID. So the relay recognises a delivery that already exists, even if its event was written
-- again or this database went back to an earlier state.
--
-- The ID is a UUID of version 8 (RFC 9562); no event has an ID of that version. The first 48 bits and the 12 bits
-- after the version are taken from the event's ID. Bit 66, counted from 0, says whether those 48 bits are a time. The
-- other bits are a hash of event and subscription.
-- +goose StatementBegin
CREATE FUNCTION outbox_delivery_id(event uuid, subscription_id uuid) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    id bytea := uuid_send(event);
    rest bytea := substr(sha256(id || uuid_send(subscription_id)), 1, 8);
    timed integer := CASE WHEN get_byte(id, 6) >> 4 = 7 THEN 32 ELSE 0 END;
BEGIN
    id := set_byte(substr(id, 1, 8), 6, get_byte(id, 6) & 15 | 128);
    RETURN encode(id || set_byte(rest, 0, get_byte(rest, 0) & 31 | timed | 128), 'hex')::uuid;
END $$;
-- +goose StatementEnd

-- outbox_delivery_key returns the ordering key of a delivery to a subscription that keeps the
-- order: subscription:NAME:KEY, with the subscription's name and the event's own ordering key.
CREATE FUNCTION outbox_delivery_key(subscription text, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'subscription:' || subscription || ':' || key $$;

-- The trigger outbox_take_position takes the positions of events within their ordering keys from this sequence.
CREATE SEQUENCE outbox_ordering_position;

-- outbox_is_blank says whether a text has no visible character. Such a text is empty, or has only white space,
-- no-break and zero-width spaces, control characters and fillers. The function compares the bytes of the text in
-- UTF-8, which works in a database of any encoding. A pattern in LATIN1 could not name most of these characters,
-- and in SQL_ASCII a character is a byte.
CREATE FUNCTION outbox_is_blank(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
    SELECT encode(convert_to(name, 'UTF8'), 'hex') COLLATE "C" ~
        '^(0[1-9a-f]|1[0-9a-f]|20|7f|c2[89][0-9a-f]|c2a0|c2ad|cd8f|d89c|e1859f|e185a0|e19a80|e19eb[45]|e1a08[b-f]|e2808[0-9a-f]|e280a[89a-f]|e2819f|e281a[0-9a-f]|e2a080|e38080|e385a4|efb88[0-9a-f]|efbbbf|efbea0)*$'
$$;

-- outbox_within_bounds refuses events that Asynq, JSON or outboxd could never accept. The producer's own transaction
-- fails with the error of a CHECK constraint, and the constraint's name says which bound was exceeded. One CHECK of
-- the table calls outbox_within_bounds, instead of more than two dozen CHECKs. PostgreSQL reads and prepares all
-- CHECKs of a table for every statement, and two dozen CHECKs halved the rate of a producer that writes single
-- events.
--
-- The reasons of some bounds:
--   - Nothing can wait for an infinite time. The years come from RFC 3339, in which JSON has times.
--   - Deadlines begin with the year 1971, because Asynq takes the Unix time 0 for no deadline.
--   - In other places of outboxd the zero UUID means "no event".
--   - A UUID of version 8 is the ID of a delivery (outbox_delivery_id). An event with such an ID would be taken for a
--     delivery, and its own deliveries could not be cancelled.
--   - The code of the character } is 125. Asynq writes a queue's name in braces into its keys, and a Redis Cluster
--     chooses the slot by the text in braces. If a queue's name begins with }, that text is empty: the queue's keys
--     are in different slots, and no script can use them together.
--   - After a restore, the sequence of positions continues from the highest position (deploy/postgres/restored.sql).
--     A position at the end of the sequence would leave no number for later events.
--   - Some bounds are in bytes of UTF-8. The function converts only names of more than 85 bytes, because no
--     character has more than three times as many bytes in UTF-8 as in another encoding.
--
-- A name with a visible ASCII character is not blank, and almost every name has one. The calls of outbox_is_blank are
-- in a separate statement. If a condition of the list called a function in SQL or PL/pgSQL, PostgreSQL would plan the
-- whole list again in every transaction.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_within_bounds(
    id uuid, event_type text, headers jsonb, queue text, max_retry integer, timeout_seconds integer, deadline timestamptz,
    retention_seconds integer, unique_seconds integer, available_at timestamptz, attempts integer, generation integer, last_error text,
    created_at timestamptz, ordering_key text, ordering_position bigint, origin_id uuid, subscription text
) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    broken text := CASE
        WHEN id = '00000000-0000-0000-0000-000000000000' THEN 'id_is_not_zero'
        WHEN subscription IS NULL AND pg_catalog.get_byte(pg_catalog.uuid_send(id), 6) >> 4 = 8 THEN 'id_is_not_of_version_8'
        WHEN pg_catalog.octet_length(event_type) > 85 AND pg_catalog.octet_length(pg_catalog.convert_to(event_type, 'UTF8')) > 255 THEN 'event_type_has_at_most_255_bytes'
        WHEN pg_catalog.octet_length(queue) > 85 AND pg_catalog.octet_length(pg_catalog.convert_to(queue, 'UTF8')) > 255 THEN 'queue_has_at_most_255_bytes'
        WHEN pg_catalog.ascii(queue) = 125 THEN 'queue_does_not_begin_with_a_brace'
        WHEN headers <> '{}' AND (pg_catalog.jsonb_typeof(headers) <> 'object'
            OR pg_catalog.jsonb_path_exists(headers, 'strict $.* ? (@.type() != "string")')) THEN 'headers_map_strings_to_strings'
        WHEN pg_catalog.pg_column_size(headers) > 65536 THEN 'headers_have_at_most_64_kib'
        WHEN max_retry < 0 THEN 'max_retry_is_not_negative'
        WHEN timeout_seconds <= 0 THEN 'timeout_seconds_is_positive'
        WHEN retention_seconds < 0 THEN 'retention_seconds_is_not_negative'
        WHEN unique_seconds <= 0 THEN 'unique_seconds_is_positive'
        WHEN attempts < 0 THEN 'attempts_is_not_negative'
        WHEN attempts > 1000000000 THEN 'attempts_is_at_most_1000000000'
        WHEN generation < 0 THEN 'generation_is_not_negative'
        WHEN generation > 1000000000 THEN 'generation_is_at_most_1000000000'
        WHEN pg_catalog.octet_length(last_error) > 8192 THEN 'last_error_has_at_most_8_kib'
        WHEN NOT pg_catalog.isfinite(available_at) THEN 'available_at_is_finite'
        WHEN available_at < '0001-01-01 00:00:00+00' OR available_at >= '10000-01-01 00:00:00+00' THEN 'available_at_is_in_years_1_to_9999'
        WHEN created_at < '0001-01-01 00:00:00+00' OR created_at >= '10000-01-01 00:00:00+00' THEN 'created_at_is_in_years_1_to_9999'
        WHEN NOT pg_catalog.isfinite(deadline) THEN 'deadline_is_finite'
        WHEN deadline < '1971-01-01 00:00:00+00' OR deadline >= '10000-01-01 00:00:00+00' THEN 'deadline_is_in_years_1971_to_9999'
        WHEN pg_catalog.octet_length(ordering_key) > 85 AND subscription IS NULL AND pg_catalog.octet_length(pg_catalog.convert_to(ordering_key, 'UTF8')) > 255 THEN 'ordering_key_has_at_most_255_bytes'
        WHEN (ordering_key IS NULL) <> (ordering_position IS NULL) THEN 'ordering_key_has_a_position'
        WHEN ordering_position >= 4611686018427387904 THEN 'ordering_position_is_below_2_to_the_62'
        WHEN (subscription IS NULL) <> (origin_id IS NULL) THEN 'delivery_has_an_origin'
        WHEN event_type COLLATE "C" !~ '[!-~]' OR queue COLLATE "C" !~ '[!-~]' OR ordering_key COLLATE "C" !~ '[!-~]' THEN 'perhaps blank'
    END;
BEGIN
    IF broken = 'perhaps blank' THEN
        broken := CASE
            WHEN %1$I.outbox_is_blank(event_type) THEN 'event_type_is_not_blank'
            WHEN %1$I.outbox_is_blank(queue) THEN 'queue_is_not_blank'
            WHEN %1$I.outbox_is_blank(ordering_key) THEN 'ordering_key_is_not_blank'
        END;
    END IF;
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RAISE check_violation USING
        MESSAGE = pg_catalog.format('new row for relation "outbox" violates check constraint "outbox_%%s"', broken),
        CONSTRAINT = 'outbox_' || broken, TABLE = 'outbox', SCHEMA = '%1$s';
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- The table outbox holds pending events only. A row is inserted once, deleted once, and hardly ever updated. So the
-- work of vacuum depends on the rate of events and not on the size of the table. Therefore autovacuum has a fixed
-- threshold for this table and no cost delay.
--
-- Each table to which an event moves is created LIKE outbox.
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
    ordering_key      text,
    ordering_position bigint,
    -- NULL except for a delivery: origin_id is the ID of the event that is delivered, subscription the name of the
    -- subscription.
    origin_id         uuid,
    subscription      text,
    -- In outbox: whether the event's deliveries were made. NULL: not yet. 'done': made. 'instead': made, and the event
    -- gets no task of its own. Other tables may have NULL although the deliveries were made.
    split             text,

    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_within_bounds CHECK (outbox_within_bounds(
        id, event_type, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
        unique_seconds, available_at, attempts, generation, last_error, created_at, ordering_key,
        ordering_position, origin_id, subscription)),
    -- The payload's CHECK is the only one whose limit an option changes (--relay-max-payload).
    CONSTRAINT outbox_payload_has_at_most_1_MiB CHECK (octet_length(payload) <= 1048576)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

-- With the index outbox_due a relay's claim finds due rows, oldest first. Because of the column id, no two rows have
-- the same position in the index. So the relay's cursor can name the position that the relay has reached.
CREATE INDEX outbox_due ON outbox (available_at, id);

-- The index outbox_key answers whether an earlier event of an ordering key is still pending.
CREATE INDEX outbox_key ON outbox (ordering_key, ordering_position) WHERE ordering_key IS NOT NULL;

-- The position within an ordering key comes from a sequence when the row is written. A time cannot serve as the
-- position, because a clock may step back, and because now() is the time at which the transaction began. A row without
-- an ordering key gets no position, and a row that brings its position keeps it. SECURITY DEFINER: producers need no
-- right on the sequence.
-- +goose StatementBegin
CREATE FUNCTION outbox_take_position() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    NEW.ordering_position := nextval('outbox_ordering_position');
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER outbox_take_position BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.ordering_key IS NOT NULL AND NEW.ordering_position IS NULL)
    EXECUTE FUNCTION outbox_take_position();

-- lock_key makes a second caller with the same ordering key wait until the first caller's transaction has ended. If
-- every transaction calls lock_key before it writes its first event of the key, the events of the key are in the order
-- in which these transactions commit.
-- +goose StatementBegin
CREATE FUNCTION lock_key(key text) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' ' || key, 7306087318))
$$;
-- +goose StatementEnd

-- emit writes one event with a JSON payload and returns its ID. For a payload of raw bytes, or for many events at
-- once, use INSERT INTO outbox. With in_commit_order and an ordering key, emit calls lock_key first. emit is not
-- SECURITY DEFINER: the producer needs the right to INSERT into outbox.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION emit(
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
        PERFORM %1$I.lock_key($11);
    END IF;
    INSERT INTO %1$I.outbox (id, event_type, payload, headers, queue, available_at, max_retry,
                        timeout_seconds, deadline, retention_seconds, unique_seconds, ordering_key)
    VALUES (event_id, $1, convert_to($2::text, 'UTF8'), $3, $4, $5, $6, $7, $8, $9, $10, $11);
    RETURN event_id;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_relays has one row for each relay process. The row of a killed process stays for a while, until the
-- leader deletes it. While a relay is marked asleep, transactions that write events notify it; outbox_wake says
-- which transactions do not.
CREATE TABLE outbox_relays (
    id         uuid        PRIMARY KEY,
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    version    text        NOT NULL,
    asleep     boolean     NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE outbox_relays;
DROP FUNCTION emit;
DROP FUNCTION lock_key;
DROP TABLE outbox;
DROP FUNCTION outbox_take_position;
DROP SEQUENCE outbox_ordering_position;
DROP FUNCTION outbox_within_bounds;
DROP FUNCTION outbox_is_blank;
DROP FUNCTION outbox_delivery_key;
DROP FUNCTION outbox_delivery_id;
DROP FUNCTION outbox_new_id;
