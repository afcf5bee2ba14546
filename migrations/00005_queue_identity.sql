-- By what the queue is recognised, so that one that has lost its data is
-- noticed, also when that happened while no relay was running; and by what this
-- database is, which may have gone back to an earlier state itself: a standby
-- that did not have the last commits took over, or a backup was restored.

-- +goose Up

-- One row. name is part of the name of the canary key in Redis, which databases
-- that share a Redis must not share. Empty fields: not known.
CREATE TABLE outbox_queue_identity (
    only_row       boolean     PRIMARY KEY DEFAULT true CONSTRAINT outbox_queue_identity_is_one_row CHECK (only_row),
    name           text        NOT NULL DEFAULT gen_random_uuid(),
    run_id         text        NOT NULL DEFAULT '',
    replication_id text        NOT NULL DEFAULT '',
    canary         text        NOT NULL DEFAULT '',
    system_id      text        NOT NULL DEFAULT '', -- of the PostgreSQL cluster
    timeline       text        NOT NULL DEFAULT '', -- as in the names of WAL files; a promotion and a recovery to a point in time begin a new one
    -- What was handed to the queue since history_since and within the last
    -- history_seconds is certainly in the history. 0: there is none.
    history_seconds float8     NOT NULL DEFAULT 0,
    history_since  timestamptz,
    seen_at        timestamptz,
    healed_at      timestamptz,
    went_back_at   timestamptz -- when it was last noticed that this database may have gone back
) WITH (fillfactor = 20);

INSERT INTO outbox_queue_identity DEFAULT VALUES;

-- Events that are not confirmed and whose task Redis does not have, though it
-- has lost nothing else: a task was deleted, or evicted. One row until the event
-- is confirmed, ends in another way, or its task is there again.
CREATE TABLE outbox_missing (
    event_id   uuid        PRIMARY KEY,
    event_type text        NOT NULL,
    queue      text        NOT NULL,
    generation integer     NOT NULL,
    sent_at    timestamptz NOT NULL,
    task       text        NOT NULL, -- what was found of it
    found_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- first
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(), -- last
    resends    integer     NOT NULL DEFAULT 0,
    resent_at  timestamptz
);

-- outbox_task_of says what the task of an event is, in a database that may have
-- gone back: 'rightful', 'early' if the event has an ordering key whose turn is
-- another event's, or 'unknown' if there is no such event, because the
-- transaction that wrote it is lost. One statement, because an event moves.
--
--   - Whoever has the turn may go. What took effect before may be held once more,
--     where the claim that sent it was undone; it has no effect again.
--   - What is held may not, nor what has a key, no turn, and is back in the outbox.
--   - An event may be nowhere because its history has ended, or never began. So
--     one that is nowhere is unknown only if its ID, by its time, is younger than
--     the history; clocks may differ by an hour.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_task_of(event uuid) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    RETURN CASE
        WHEN EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = event)
          OR EXISTS (SELECT FROM inbox i WHERE i.event_id = event) THEN 'rightful'
        WHEN EXISTS (SELECT FROM outbox_held h WHERE h.id = event) THEN 'early'
        WHEN EXISTS (SELECT FROM outbox o WHERE o.id = event AND o.ordering_key IS NOT NULL) THEN 'early'
        WHEN EXISTS (SELECT FROM outbox o WHERE o.id = event)
          OR EXISTS (SELECT FROM outbox_sent s WHERE s.id = event)
          OR EXISTS (SELECT FROM outbox_dead d WHERE d.id = event) THEN 'rightful'
        WHEN outbox_id_time(event) > (
            SELECT greatest(history_since, now() - (history_seconds - least(history_seconds / 2, 3600)) * interval '1 second')
            FROM outbox_queue_identity WHERE history_since IS NOT NULL) THEN 'unknown'
        ELSE 'rightful'
    END;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_id_time returns the time in a UUID of version 7, and NULL of any other.
-- +goose StatementBegin
CREATE FUNCTION outbox_id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN get_byte(uuid_send(id), 6) >> 4 = 7
        THEN to_timestamp(('x' || left(encode(uuid_send(id), 'hex'), 12))::bit(48)::bigint / 1000.0) END
$$;
-- +goose StatementEnd

-- outbox_is_doubtful says whether an event has to be looked for before it takes
-- effect, because this database may have gone back: it is on another timeline than
-- the relays have seen, or the event is from before they noticed it. An ID that
-- tells no time counts as old. When the history of that time has ended, what is
-- unknown could not be told any more.
--
-- Where nothing is in doubt, it notes the second in the session, so that only the
-- first confirmation of every second asks. The second is taken before the look.
-- Whoever says that the database has gone back therefore waits for longer than a
-- second, until everybody has seen it. An older snapshot notes nothing.
--
-- The privilege is looked at because an error here would stop every consumer.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_is_doubtful(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    second  text := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.int8::pg_catalog.text;
    back_at timestamptz;
    line    text;
    may     boolean;
BEGIN
    SELECT i.timeline,
           CASE WHEN i.went_back_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => greatest(i.history_seconds, 3600))) THEN i.went_back_at END,
           pg_catalog.has_function_privilege('pg_catalog.pg_walfile_name(pg_catalog.pg_lsn)'::pg_catalog.regprocedure, 'EXECUTE')
    INTO line, back_at, may FROM %1$I.outbox_queue_identity i;
    IF back_at IS NOT NULL AND coalesce(%1$I.outbox_id_time(event) OPERATOR(pg_catalog.<) (back_at OPERATOR(pg_catalog.+) '1 minute'::pg_catalog.interval), true) THEN
        RETURN true;
    END IF;
    IF may AND line OPERATOR(pg_catalog.<>) '' THEN
        IF NOT pg_catalog.starts_with(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), line) THEN
            RETURN true;
        END IF;
    END IF;
    IF back_at IS NULL AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' THEN
        PERFORM pg_catalog.set_config('outboxd.sure_at', second, false);
    END IF;
    RETURN false;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_confirming decides whether an event may take effect, before its effect,
-- whoever confirms it.
--
--   - What is held may not: the event before it has not taken effect, or this
--     database has forgotten that it did. The error says to give the task back;
--     the event is let go when the one before is confirmed.
--   - Where this database may have gone back, an event that does not exist may not
--     either. There is then no inbox row, as for an event that took effect
--     before, and the journal says why.
--
-- It runs once for every event, so it asks for the least: almost always one look
-- into an index, and whether this session asked within the second. Neither it nor
-- outbox_is_doubtful has a search_path of its own.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_confirming() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF pg_catalog.current_setting('outboxd.sure_at', true) IS NOT DISTINCT FROM pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.int8::pg_catalog.text
       OR NOT %1$I.outbox_is_doubtful(NEW.event_id) THEN
        PERFORM FROM %1$I.outbox_held WHERE id OPERATOR(pg_catalog.=) NEW.event_id;
        IF NOT FOUND THEN
            RETURN NEW;
        END IF;
    END IF;
    CASE %1$I.outbox_task_of(NEW.event_id)
    WHEN 'early' THEN
        RAISE EXCEPTION 'event %% may not take effect yet: its ordering key has another event''s turn', NEW.event_id
            USING ERRCODE = 'OB001', HINT = 'Give the task back without charging it an attempt. It comes again when the event before it is confirmed.';
    WHEN 'unknown' THEN
        -- A snapshot may be older than the event.
        IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
            RAISE EXCEPTION 'whether event %% exists cannot be told in a transaction that is not READ COMMITTED', NEW.event_id
                USING ERRCODE = 'serialization_failure', HINT = 'Try again, or confirm in a READ COMMITTED transaction.';
        END IF;
        INSERT INTO %1$I.outbox_journal (event_id, stage, entry, generation, detail)
        SELECT NEW.event_id, 'worker', 'unknown', 0, 'PostgreSQL went back to before this event was committed; its task had no effect'
        WHERE NOT EXISTS (SELECT FROM %1$I.outbox_journal j WHERE j.event_id OPERATOR(pg_catalog.=) NEW.event_id AND j.entry OPERATOR(pg_catalog.=) 'unknown');
        RETURN NULL;
    ELSE
        RETURN NEW;
    END CASE;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE TRIGGER outbox_confirming BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION outbox_confirming();

-- +goose Down
DROP TRIGGER outbox_confirming ON inbox;
DROP FUNCTION outbox_confirming;
DROP FUNCTION outbox_is_doubtful;
DROP FUNCTION outbox_task_of;
DROP FUNCTION outbox_id_time;
DROP TABLE outbox_missing;
DROP TABLE outbox_queue_identity;
