-- Taking back: cancel and reschedule, in any transaction. They hold if that
-- transaction commits.
--
-- A cancelled event has a row in outbox_cancelled and a row in inbox, written by
-- one transaction. Confirming an event inserts the same row in inbox, so only one
-- of the two succeeds, whatever becomes of the task in Redis. A task that is taken
-- later finds that row and has no effect. The leader deletes the task afterwards.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_standing returns the state of an event; 'unknown' if it is in no table;
-- 'open' before the state if it can be cancelled. One statement, because an event
-- moves. An event that is in the outbox or the history and in inbox is confirmed.
--
-- Some events count as in flight as soon as a relay may have handed them over, even
-- if that relay died and left them in the outbox, because cancel could not stop them:
--   - No task asks the inbox if no consumer confirms the type, or if the effect
--     happens in another database.
--   - A delivery asks, but no transaction that cancel could wait for is open while
--     the receiver thinks.
-- +goose StatementBegin
CREATE FUNCTION outbox_standing(event uuid) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH places AS (
        SELECT 'pending' AS state, event_type, subscription, generation, available_at <= clock_timestamp() OR attempts > 0 OR generation > 0 AS tried FROM outbox WHERE id = event
        UNION ALL SELECT 'held', event_type, subscription, generation, false FROM outbox_held WHERE id = event
        UNION ALL SELECT 'in flight', event_type, subscription, generation, true FROM outbox_sent WHERE id = event
        UNION ALL SELECT 'dead', event_type, subscription, generation, false FROM outbox_dead WHERE id = event
        UNION ALL SELECT 'suppressed', event_type, subscription, generation, false FROM outbox_suppressed WHERE id = event
        UNION ALL SELECT 'cancelled', event_type, subscription, generation, false FROM outbox_cancelled WHERE id = event
    )
    SELECT CASE
        WHEN p.state IN ('dead', 'suppressed', 'cancelled') THEN p.state
        WHEN EXISTS (SELECT FROM inbox i WHERE i.event_id = event) THEN 'confirmed'
        WHEN p.state IS NULL THEN 'unknown'
        WHEN p.tried AND (p.subscription IS NOT NULL
            OR EXISTS (SELECT FROM outbox_queue_identity q WHERE p.event_type = ANY (q.unconfirmed || q.elsewhere))) THEN 'in flight'
        ELSE 'open ' || p.state
    END
    FROM (SELECT) AS one LEFT JOIN (SELECT * FROM places ORDER BY state = 'cancelled' DESC, generation DESC, state <> 'dead' DESC LIMIT 1) AS p ON true
$$;
-- +goose StatementEnd

-- outbox_deliveries_of returns the IDs that an event's deliveries have, or would have
-- if they were made. A delivery has none.
CREATE FUNCTION outbox_deliveries_of(event uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT outbox_delivery_id(event, s.id) FROM outbox_subscriptions s WHERE get_byte(uuid_send(event), 6) >> 4 <> 8 ORDER BY 1
$$;

-- outbox_cancel_one cancels an event, without its deliveries. It returns 'cancelled',
-- or why it could not:
--
--   confirmed   it took effect
--   running     its handler is working on it now
--   busy        a relay, or another transaction, is moving it now
--   in flight   it was handed over, and nothing asks the inbox before its effect
--   dead, suppressed, unknown
--
-- It waits for locks as long as lock_timeout says here, then gives up and undoes its
-- changes. The event's row is deleted first: while the event is in outbox_held, the
-- inbox would refuse it. If an event was written more than once, the newest row is
-- kept and the others are absorbed.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_cancel_one(event uuid, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    standing text;
    moved integer;
    confirming boolean;
BEGIN
    FOR attempt IN 1..10 LOOP
        standing := outbox_standing(event);
        IF standing NOT LIKE 'open %%' THEN
            RETURN standing;
        END IF;
        confirming := false;
        BEGIN
            WITH waiting AS (
                DELETE FROM outbox WHERE id = event RETURNING %1$s
            ), held AS (
                DELETE FROM outbox_held WHERE id = event RETURNING %1$s
            ), sent AS (
                DELETE FROM outbox_sent WHERE id = event RETURNING %1$s
            ), gone AS (
                SELECT *, row_number() OVER (ORDER BY generation DESC) AS n FROM (
                    SELECT 'pending' AS was, * FROM waiting
                    UNION ALL SELECT 'held', * FROM held
                    UNION ALL SELECT 'in flight', * FROM sent
                ) AS every
            ), kept AS (
                INSERT INTO outbox_cancelled (%1$s, was, detail)
                SELECT %1$s, was, 'by ' || actor || CASE WHEN reason <> '' THEN ': ' || reason ELSE '' END FROM gone WHERE n = 1
                RETURNING id, generation, attempts, detail
            ), absorbed AS (
                INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM gone WHERE n > 1
            ), noted AS (
                INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, 'person', 'cancelled', generation, detail FROM kept
            )
            SELECT count(*) INTO moved FROM gone;
            IF moved > 0 THEN
                confirming := true;
                INSERT INTO inbox (event_id) VALUES (event) ON CONFLICT DO NOTHING;
                IF NOT FOUND THEN
                    RAISE SQLSTATE 'OB002';
                END IF;
                RETURN 'cancelled';
            END IF;
        EXCEPTION
            WHEN lock_not_available THEN RETURN CASE WHEN confirming THEN 'running' ELSE 'busy' END;
            WHEN SQLSTATE 'OB002' THEN RETURN 'confirmed';
        END;
        -- The event moved after outbox_standing had found it: try again.
    END LOOP;
    RETURN 'busy';
END $$
$ddl$, columns); END $do$;
-- +goose StatementEnd

-- outbox_cancel cancels an event with all its deliveries, or nothing. Its answers are
-- those of outbox_cancel_one. It looks for the deliveries after the event is
-- cancelled: the claim that made them has ended by then. A dead delivery may be
-- replayed, so it prevents the cancellation.
-- +goose StatementBegin
CREATE FUNCTION outbox_cancel(event uuid, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    answer text;
    delivery uuid;
BEGIN
    answer := outbox_cancel_one(event, actor, reason);
    IF answer = 'cancelled' THEN
        FOR delivery IN SELECT * FROM outbox_deliveries_of(event) LOOP
            answer := outbox_cancel_one(delivery, actor, reason);
            IF answer NOT IN ('cancelled', 'suppressed', 'unknown') THEN
                RAISE SQLSTATE 'OB003';
            END IF;
        END LOOP;
        answer := 'cancelled';
    END IF;
    RETURN answer;
EXCEPTION WHEN SQLSTATE 'OB003' THEN
    RETURN answer;
END $$;
-- +goose StatementEnd

-- A pending event holds back later events of its ordering key, even without the turn.
-- When it is cancelled, they are asked for again. That happens as the last step of
-- the transaction, because until then other transactions still see the cancelled
-- event. If the event had the turn, its row in inbox passes the turn on.
-- +goose StatementBegin
CREATE FUNCTION outbox_took_back() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM outbox_advance(ARRAY[NEW.ordering_key]);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER outbox_took_back AFTER INSERT ON outbox_cancelled
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.ordering_key IS NOT NULL AND NEW.was = 'pending')
    EXECUTE FUNCTION outbox_took_back();

-- outbox_reschedule moves a waiting event to another time. It returns
-- 'rescheduled', or why it could not, in the words of outbox_cancel. An event that
-- was handed to Redis is in flight. The count of attempts does not change.
-- +goose StatementBegin
CREATE FUNCTION outbox_reschedule(event uuid, due timestamptz, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    standing text;
    detail text := 'by ' || actor || CASE WHEN reason <> '' THEN ': ' || reason ELSE '' END;
    moved integer;
BEGIN
    IF due IS NULL OR NOT isfinite(due) OR due < '0001-01-01 00:00:00+00' OR due >= '10000-01-01 00:00:00+00' THEN
        RAISE check_violation USING MESSAGE = 'an event cannot be rescheduled to that time', HINT = 'Name a time in the years 1 to 9999.';
    END IF;
    FOR attempt IN 1..10 LOOP
        standing := outbox_standing(event);
        IF standing NOT LIKE 'open %' THEN
            RETURN standing;
        ELSIF standing = 'open in flight' THEN
            RETURN 'in flight';
        END IF;
        BEGIN
            WITH waiting AS (
                UPDATE outbox o SET available_at = due FROM (SELECT id, available_at FROM outbox WHERE id = event FOR UPDATE) AS before
                WHERE o.id = before.id RETURNING o.id, o.generation, before.available_at
            ), held AS (
                UPDATE outbox_held h SET available_at = due FROM (SELECT id, available_at FROM outbox_held WHERE id = event FOR UPDATE) AS before
                WHERE h.id = before.id RETURNING h.id, h.generation, before.available_at
            ), noted AS (
                INSERT INTO outbox_journal (event_id, stage, entry, generation, detail)
                SELECT id, 'person', 'rescheduled', generation, format('to %s UTC (was %s), %s',
                    to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), to_char(available_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), detail)
                FROM (SELECT * FROM waiting UNION ALL SELECT * FROM held) AS every
                RETURNING 1
            )
            SELECT count(*) INTO moved FROM noted;
        EXCEPTION
            WHEN lock_not_available THEN RETURN 'busy';
        END;
        IF moved > 0 THEN
            -- A sleeping relay waits for the due time that it knew before this change.
            IF EXISTS (SELECT FROM outbox_relays WHERE asleep) AND coalesce(current_setting('outboxd.wake', true), '') <> 'off' THEN
                PERFORM pg_notify('outbox_wake', current_schema());
            END IF;
            RETURN 'rescheduled';
        END IF;
    END LOOP;
    RETURN 'busy';
END $$;
-- +goose StatementEnd

-- outbox_erase_one removes the payload, the headers and the errors of an event. It
-- returns 'erased', or why it could not, in the words of outbox_cancel. The account
-- and the ID stay. An erased event is never sent again:
--
--   - An event that has not taken effect is cancelled.
--   - A dead letter is discarded, so that it cannot be replayed.
--   - A confirmed event that is back in the outbox goes to the history, as it would
--     without this.
--   - An event that was handed over and has no consumer that confirms leaves the
--     history, as it would at the end of its time.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
    erased text := replace(replace(replace(columns, 'payload', quote_literal('') || '::bytea'), 'headers', quote_literal('{}') || '::jsonb'), 'last_error', 'NULL::text');
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_erase_one(event uuid, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    standing text := outbox_cancel_one(event, actor, reason);
    found_one integer;
    found_dead integer;
BEGIN
    IF standing IN ('running', 'busy', 'unknown')
       OR standing = 'in flight' AND NOT EXISTS (SELECT FROM outbox_sent s, outbox_queue_identity q WHERE s.id = event AND s.subscription IS NULL AND s.event_type = ANY (q.unconfirmed)) THEN
        RETURN standing;
    END IF;
    BEGIN
        WITH suppressed AS (
            UPDATE outbox_suppressed SET payload = '', headers = '{}', last_error = NULL WHERE id = event RETURNING generation
        ), cancelled AS (
            UPDATE outbox_cancelled SET payload = '', headers = '{}', last_error = NULL WHERE id = event RETURNING generation
        ), sent AS (
            UPDATE outbox_sent SET payload = '', headers = '{}', last_error = NULL WHERE id = event AND standing <> 'in flight' RETURNING generation
        ), ended AS (
            DELETE FROM outbox_sent WHERE id = event AND standing = 'in flight' RETURNING event_type, created_at, generation
        ), back AS (
            DELETE FROM outbox WHERE id = event AND standing = 'confirmed' RETURNING *
        ), held AS (
            DELETE FROM outbox_held WHERE id = event AND standing = 'confirmed' RETURNING %1$s
        ), moved AS (
            INSERT INTO outbox_sent (%1$s) SELECT %2$s FROM (SELECT %1$s FROM back UNION ALL SELECT %1$s FROM held) AS waiting RETURNING generation
        ), dead AS (
            DELETE FROM outbox_dead WHERE id = event RETURNING event_type, created_at, generation
        ), entered AS (
            INSERT INTO outbox_account AS a (day, event_type, discarded, unconfirmed)
            SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, sum(discarded), sum(unconfirmed) FROM (
                SELECT event_type, created_at, 1 AS discarded, 0 AS unconfirmed FROM dead
                UNION ALL SELECT event_type, created_at, 0, 1 FROM ended
            ) AS gone GROUP BY 1, 2
            ON CONFLICT (day, event_type) DO UPDATE SET discarded = a.discarded + excluded.discarded, unconfirmed = a.unconfirmed + excluded.unconfirmed
        ), every AS (
            SELECT generation FROM suppressed UNION ALL SELECT generation FROM cancelled UNION ALL SELECT generation FROM sent
            UNION ALL SELECT generation FROM ended UNION ALL SELECT generation FROM moved UNION ALL SELECT generation FROM dead
        ), noted AS (
            INSERT INTO outbox_journal (event_id, stage, entry, generation, detail)
            SELECT event, 'person', 'erased', max(generation), 'by ' || actor || CASE WHEN reason <> '' THEN ': ' || reason ELSE '' END FROM every HAVING count(*) > 0
        )
        SELECT count(*), (SELECT count(*) FROM dead) INTO found_one, found_dead FROM every;
        -- It was replayed in the meantime: it has its turn again, and the delivery
        -- has not ended.
        IF standing = 'dead' AND found_dead = 0 THEN
            RETURN 'busy';
        END IF;
        UPDATE outbox_journal SET detail = '' WHERE event_id = event AND stage <> 'person';
        IF standing = 'dead' THEN
            PERFORM outbox_pass_turn(event);
            PERFORM outbox_delivery_ended(event);
        END IF;
    EXCEPTION
        WHEN lock_not_available THEN RETURN 'busy';
    END;
    RETURN CASE WHEN found_one > 0 THEN 'erased' ELSE 'unknown' END;
END $$
$ddl$, columns, erased); END $do$;
-- +goose StatementEnd

-- outbox_erase erases an event and its deliveries. It returns 'erased', or the answer
-- of outbox_erase_one for the first one that could not be erased.
-- +goose StatementBegin
CREATE FUNCTION outbox_erase(event uuid, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    answer text := outbox_erase_one(event, actor, reason);
    delivery uuid;
    other text;
BEGIN
    FOR delivery IN SELECT * FROM outbox_deliveries_of(event) LOOP
        other := outbox_erase_one(delivery, actor, reason);
        IF answer IN ('erased', 'unknown') AND other <> 'unknown' THEN
            answer := other;
        END IF;
    END LOOP;
    RETURN answer;
END $$;
-- +goose StatementEnd

-- cancel takes an event back in the caller's transaction. It returns 'cancelled' if
-- the event certainly has no effect, also if it was cancelled before. Otherwise it
-- returns why it could not; see outbox_cancel_one. Until the transaction ends, a
-- handler that begins with the event waits for it. SECURITY DEFINER, as reschedule:
-- a producer needs only EXECUTE and the event's ID.
-- +goose StatementBegin
CREATE FUNCTION cancel(event_id uuid, reason text DEFAULT '') RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN outbox_cancel($1, session_user, coalesce($2, ''));
END $$;
-- +goose StatementEnd

-- reschedule moves an event that was not handed to Redis yet to an earlier or later
-- time, in the caller's transaction. It returns 'rescheduled', or why it could not.
-- +goose StatementBegin
CREATE FUNCTION reschedule(event_id uuid, available_at timestamptz, reason text DEFAULT '') RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN outbox_reschedule($1, $2, session_user, coalesce($3, ''));
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION reschedule;
DROP FUNCTION cancel;
DROP FUNCTION outbox_erase;
DROP FUNCTION outbox_erase_one;
DROP FUNCTION outbox_reschedule;
DROP TRIGGER outbox_took_back ON outbox_cancelled;
DROP FUNCTION outbox_took_back;
DROP FUNCTION outbox_cancel;
DROP FUNCTION outbox_cancel_one;
DROP FUNCTION outbox_deliveries_of;
DROP FUNCTION outbox_standing;
