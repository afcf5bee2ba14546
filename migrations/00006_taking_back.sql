-- The functions of this file cancel, reschedule and erase events. Producers call cancel and reschedule in any
-- transaction. A change that the function reports as made happens when that transaction commits. A change that only
-- the leader can make happens later; see outbox_requests.
--
-- Cancelling an event writes a row into outbox_cancelled and a row into inbox, in one transaction. Confirming an
-- event inserts the same row into inbox, so only one of the two succeeds, whatever happens to the task in Redis. If a
-- worker takes the task later, the worker finds the row in inbox, and the task has no effect. The leader deletes the
-- task afterwards.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_requests has changes that producers asked for and that only the leader can make, because somebody has to
-- look into Redis first; see outbox_standing. An event has at most one row: the last request counts. The leader makes
-- the change, or notes in the journal why it was too late for the change.
CREATE TABLE outbox_requests (
    event_id     uuid        PRIMARY KEY,
    due          timestamptz, -- null: cancel the event; otherwise the time to which the event is moved
    actor        text        NOT NULL,
    reason       text        NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- outbox_standing returns the state of an event. If the event can be cancelled, the result is 'open' and the state. If
-- neither a table of events nor inbox has the event, the result is 'unknown'. The function uses one statement, because
-- an event may move between tables meanwhile. An event in outbox, outbox_held or outbox_sent that also has a row in
-- inbox is confirmed.
--
-- Some events cannot be judged here as soon as a relay may have handed them to Redis, even if that relay died and
-- left them in outbox:
--   - 'in flight': if no consumer confirms the type, or if the effect happens in another database, the task takes
--     effect without asking the inbox. Nothing could stop it.
--   - 'queued': a delivery asks the inbox, but while it waits for the receiver's answer it has no open transaction
--     for which cancel could wait. The same is true of the types in outward. A task that is not active in Redis still
--     has to ask. So a caller may write the row in inbox, then look into Redis, and commit only if no task of the
--     event is active. If asked is true, the caller promises to ask Redis before it commits, and a queued event
--     counts as open.
--
-- If a subscription was removed longer ago than its timeout plus a minute, every worker has noticed that and makes
-- no attempts for it. So the deliveries of that subscription can be cancelled.
--
-- If a producer wrote an ID again, the ID may be dead or suppressed and also wait in another table. If given_up is
-- false, only the waiting event counts.
-- +goose StatementBegin
CREATE FUNCTION outbox_standing(event uuid, given_up boolean DEFAULT true, asked boolean DEFAULT false) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH places AS (
        SELECT 'pending' AS state, event_type, subscription, generation, available_at <= clock_timestamp() OR attempts > 0 OR generation > 0 AS tried FROM outbox WHERE id = event
        UNION ALL SELECT 'held', event_type, subscription, generation, false FROM outbox_held WHERE id = event
        UNION ALL SELECT 'in flight', event_type, subscription, generation, true FROM outbox_sent WHERE id = event
        UNION ALL SELECT 'dead', event_type, subscription, generation, false FROM outbox_dead WHERE id = event AND given_up
        UNION ALL SELECT 'suppressed', event_type, subscription, generation, false FROM outbox_suppressed WHERE id = event AND given_up
        UNION ALL SELECT 'cancelled', event_type, subscription, generation, false FROM outbox_cancelled WHERE id = event
    )
    SELECT CASE
        WHEN p.state IN ('dead', 'suppressed', 'cancelled') THEN p.state
        WHEN EXISTS (SELECT FROM inbox i WHERE i.event_id = event) THEN 'confirmed'
        WHEN p.state IS NULL THEN 'unknown'
        WHEN p.tried AND p.subscription IS NULL AND EXISTS (
                SELECT FROM outbox_queue_identity q WHERE p.event_type = ANY (q.unconfirmed || q.elsewhere)) THEN 'in flight'
        WHEN p.tried AND NOT asked AND (p.subscription IS NOT NULL AND NOT EXISTS (
                SELECT FROM outbox_subscriptions s
                WHERE s.name = p.subscription AND s.removed_at < clock_timestamp() - (s.timeout_ms + 60000) * interval '1 millisecond')
            OR p.subscription IS NULL AND EXISTS (SELECT FROM outbox_queue_identity q WHERE p.event_type = ANY (q.outward))) THEN 'queued'
        ELSE 'open ' || p.state
    END
    FROM (SELECT) AS one LEFT JOIN (SELECT * FROM places ORDER BY state = 'cancelled' DESC, generation DESC, state <> 'dead' DESC LIMIT 1) AS p ON true
$$;
-- +goose StatementEnd

-- outbox_deliveries_of returns the IDs that an event's deliveries have, or would have if they were made.
-- outbox_deliveries_of includes deliveries to a removed subscription, unless the subscription was removed more than an
-- hour before the time in the event's ID. A delivery itself has no deliveries.
CREATE FUNCTION outbox_deliveries_of(event uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT outbox_delivery_id(event, s.id)
    FROM (SELECT id, removed_at FROM outbox_subscriptions UNION ALL SELECT id, removed_at FROM outbox_former_subscriptions) AS s
    WHERE get_byte(uuid_send(event), 6) >> 4 <> 8 AND (s.removed_at < outbox_id_time(event) - interval '1 hour') IS NOT TRUE
    ORDER BY 1
$$;

-- outbox_cancel_one cancels an event, without its deliveries. It returns 'cancelled', or the reason why it could
-- not cancel:
--
--   confirmed   the event took effect
--   running     a handler is working on the event now
--   busy        a relay or another transaction is moving the event now
--   in flight   the event was handed to Redis, and nothing could stop its effect
--   queued      the event was handed to Redis, and only Redis knows whether its effect is happening now
--   dead, suppressed, unknown
--
-- With asked, the caller looks into Redis before it commits; see outbox_standing.
--
-- outbox_cancel_one waits for a lock up to its own lock_timeout. After that it rolls its changes back and answers
-- 'running' or 'busy'. The function deletes the event's row before it writes to inbox, because the inbox refuses an
-- event that is in outbox_held without the turn. If an event was written more than once, the row with the highest
-- generation moves to outbox_cancelled, and the others are absorbed. given_up has the same meaning as in
-- outbox_standing. The inbox also refuses an event that was moved to a later time, so the function first removes
-- that later time.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_cancel_one(event uuid, actor text, reason text, given_up boolean DEFAULT true, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    standing text;
    moved integer;
    confirming boolean;
BEGIN
    FOR attempt IN 1..10 LOOP
        standing := outbox_standing(event, given_up, asked);
        IF standing NOT LIKE 'open %%' THEN
            RETURN standing;
        END IF;
        confirming := false;
        BEGIN
            WITH waiting AS (
                DELETE FROM outbox WHERE id = event RETURNING NULL::timestamptz AS sent_at, %1$s
            ), held AS (
                DELETE FROM outbox_held WHERE id = event RETURNING NULL::timestamptz AS sent_at, %1$s
            ), sent AS (
                DELETE FROM outbox_sent WHERE id = event RETURNING sent_at, %1$s
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
                INSERT INTO outbox_journal (event_id, stage, entry, generation, detail, sent_at)
                SELECT id, 'person', 'cancelled', generation, detail, (SELECT max(sent_at) FROM gone) FROM kept
            )
            SELECT count(*) INTO moved FROM gone;
            IF moved > 0 THEN
                confirming := true;
                UPDATE outbox_void_tasks SET until = '-infinity' WHERE event_id = event;
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
        -- The event moved to another table after outbox_standing had found it: try again.
    END LOOP;
    RETURN 'busy';
END $$
$ddl$, columns); END $do$;
-- +goose StatementEnd

-- outbox_cancel cancels an event and all its deliveries, or none of them; suppressed deliveries stay. outbox_cancel
-- returns the same answers as outbox_cancel_one. outbox_cancel first cancels the event itself. For that,
-- outbox_cancel waits for a claim that has locked the event's row and may be making the event's deliveries (after 500
-- ms the answer is 'busy'). Then outbox_cancel looks for the deliveries, so it sees all of them. A dead delivery
-- prevents the cancellation, because it might be replayed.
--
-- A replay to a subscription makes deliveries of events without locking the rows of these events. A replay works in
-- pieces, and each piece locks the row of the replay with FOR UPDATE. So the lock here waits for a piece that may
-- have read the event, and the next piece waits for this transaction. A replay that begins later also waits for
-- this transaction, because it waits for every transaction that has read outbox_subscriptions.
-- +goose StatementBegin
CREATE FUNCTION outbox_cancel(event uuid, actor text, reason text, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    answer text;
    delivery uuid;
BEGIN
    answer := outbox_cancel_one(event, actor, reason, true, asked);
    IF answer = 'cancelled' THEN
        PERFORM FROM outbox_replays WHERE ended_at IS NULL FOR KEY SHARE;
        FOR delivery IN SELECT * FROM outbox_deliveries_of(event) LOOP
            answer := outbox_cancel_one(delivery, actor, reason, true, asked);
            IF answer NOT IN ('cancelled', 'suppressed', 'unknown') THEN
                RAISE SQLSTATE 'OB003';
            END IF;
        END LOOP;
        answer := 'cancelled';
    END IF;
    RETURN answer;
EXCEPTION
    WHEN lock_not_available THEN RETURN 'busy';
    WHEN SQLSTATE 'OB003' THEN RETURN answer;
END $$;
-- +goose StatementEnd

-- A pending event holds back later events of its ordering key, even if it does not have the turn. When that event is
-- cancelled, the deferred trigger outbox_took_back releases the next event of the key, if no event has the turn.
-- outbox_took_back runs at the commit, because until then other transactions still see the cancelled event. If the
-- event had the turn, its row in inbox passes the turn on.
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

-- outbox_reschedule_one moves an event that has not taken effect to another time, without its deliveries. The
-- function returns 'rescheduled', 'refused' if outbox does not accept the event any more, or an answer of
-- outbox_cancel_one that says why it could not move the event. The event keeps its number of attempts.
--
-- A relay may already have handed the event to Redis, or may have died before it read Redis's answer. In these cases
-- a task of the event may be in Redis, and this task must not take effect at the old time. So the event gets another
-- generation, for which a relay makes a new task, and loses its unique lock. outbox_void_tasks stores the time before
-- which no task of the event may take effect.
--
-- A handler that has confirmed the event cannot be stopped: the function answers 'running'. Such a handler has
-- inserted the event's row into inbox and not yet committed it. This function inserts the same row: if the insert
-- waits too long, a handler is running; if the row exists already, the event took effect. Handlers that begin later
-- wait for this row, and then the trigger outbox_confirmed refuses them. The function deletes the row at once. With
-- the setting outboxd.barring, the inbox accepts this insert even if the event does not have the turn of its
-- ordering key. Until this transaction commits, other transactions do not see that the event has moved. They would
-- let it take effect, but they too wait for the row in inbox. asked has the same meaning as in outbox_cancel_one: a
-- task that is not active in Redis waits for the row too.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_reschedule_one(event uuid, due timestamptz, actor text, reason text, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    detail text := 'by ' || actor || CASE WHEN reason <> '' THEN ': ' || reason ELSE '' END;
    moving text := coalesce(current_setting('outboxd.moving', true), '');
    standing text;
    found_one record;
    event_row outbox;
    was_due timestamptz;
    was_sent timestamptz;
    handed_over boolean;
    confirming boolean;
BEGIN
    FOR attempt IN 1..10 LOOP
        standing := outbox_standing(event, true, asked);
        IF standing NOT LIKE 'open %%' THEN
            RETURN standing;
        END IF;
        confirming := false;
        BEGIN
            SELECT %1$s INTO event_row FROM outbox_held WHERE id = event FOR UPDATE;
            IF FOUND THEN
                was_due := event_row.available_at;
                handed_over := event_row.attempts > 0 OR event_row.generation > 0 OR EXISTS (SELECT FROM outbox_queue_identity WHERE least(event_row.created_at, outbox_id_time(event)) < went_back_at + interval '1 minute');
                IF handed_over THEN
                    event_row.generation := event_row.generation + 1;
                    event_row.unique_seconds := NULL;
                END IF;
                UPDATE outbox_held SET available_at = due, generation = event_row.generation, unique_seconds = event_row.unique_seconds WHERE id = event;
            ELSE
                WITH waiting AS (
                    DELETE FROM outbox WHERE id = event RETURNING 'pending' AS was, NULL::timestamptz AS sent_at, %1$s
                ), sent AS (
                    DELETE FROM outbox_sent WHERE id = event RETURNING 'in flight' AS was, sent_at, %1$s
                ), gone AS (
                    SELECT *, row_number() OVER (ORDER BY generation DESC) AS n FROM (SELECT * FROM waiting UNION ALL SELECT * FROM sent) AS every
                ), absorbed AS (
                    INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM gone WHERE n > 1
                )
                SELECT ROW(%1$s)::outbox AS moved, was, (SELECT count(*) FROM gone) AS places, (SELECT max(sent_at) FROM gone) AS sent_at INTO found_one FROM gone WHERE n = 1;
                CONTINUE WHEN NOT FOUND; -- it was moved between the look and the deletion
                event_row := found_one.moved;
                was_sent := found_one.sent_at;
                was_due := event_row.available_at;
                handed_over := found_one.was = 'in flight' OR found_one.places > 1 OR was_due <= clock_timestamp() OR event_row.attempts > 0 OR event_row.generation > 0;
                event_row.available_at := due;
                IF handed_over AND NOT asked AND (event_row.subscription IS NOT NULL
                    OR EXISTS (SELECT FROM outbox_queue_identity q WHERE event_row.event_type = ANY (q.outward))) THEN
                    RAISE SQLSTATE 'OB003';
                END IF;
                IF handed_over THEN
                    event_row.generation := event_row.generation + 1;
                    event_row.unique_seconds := NULL; -- its former task may hold that lock
                END IF;
                IF found_one.was = 'in flight' THEN
                    event_row.split := coalesce(event_row.split, 'done');
                END IF;
                PERFORM set_config('outboxd.moving', 'on', true);
                INSERT INTO outbox (%1$s) SELECT (event_row).*;
                PERFORM set_config('outboxd.moving', moving, true);
                IF handed_over THEN
                    confirming := true;
                    DELETE FROM outbox_void_tasks WHERE event_id = event;
                    PERFORM set_config('outboxd.barring', event::text, true);
                    INSERT INTO inbox (event_id) VALUES (event) ON CONFLICT DO NOTHING;
                    IF NOT FOUND THEN
                        RAISE SQLSTATE 'OB002';
                    END IF;
                    DELETE FROM inbox WHERE event_id = event;
                    PERFORM set_config('outboxd.barring', '', true);
                END IF;
            END IF;
            IF handed_over THEN
                INSERT INTO outbox_void_tasks AS v (event_id, queue, generation, until) VALUES (event, event_row.queue, greatest(event_row.generation - 1, 0), due)
                ON CONFLICT (event_id) DO UPDATE SET generation = greatest(v.generation, excluded.generation), until = excluded.until, removed_at = NULL;
            END IF;
            INSERT INTO outbox_journal (event_id, stage, entry, generation, detail, sent_at)
            VALUES (event, 'person', 'rescheduled', event_row.generation, format('to %%s UTC (was %%s), %%s',
                to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), to_char(was_due AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), detail), was_sent);
            RETURN 'rescheduled';
        EXCEPTION
            WHEN lock_not_available THEN RETURN CASE WHEN confirming THEN 'running' ELSE 'busy' END;
            WHEN SQLSTATE 'OB002' THEN RETURN 'confirmed';
            WHEN SQLSTATE 'OB003' THEN RETURN 'queued'; -- it has become due since outbox_standing
            WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR raise_exception THEN RETURN 'refused'; -- by the outbox
        END;
    END LOOP;
    RETURN 'busy';
END $$
$ddl$, columns); END $do$;
-- +goose StatementEnd

-- outbox_reschedule moves an event and all its deliveries to another time, or none of them; cancelled and suppressed
-- deliveries stay. outbox_reschedule returns the same answers as outbox_reschedule_one. outbox_reschedule waits for
-- replays to subscriptions in the same way as outbox_cancel.
-- +goose StatementBegin
CREATE FUNCTION outbox_reschedule(event uuid, due timestamptz, actor text, reason text, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    answer text;
    delivery uuid;
BEGIN
    IF due IS NULL OR NOT isfinite(due) OR due < '0001-01-01 00:00:00+00' OR due >= '10000-01-01 00:00:00+00' THEN
        RAISE check_violation USING MESSAGE = 'an event cannot be rescheduled to that time', HINT = 'Name a time in the years 1 to 9999.';
    END IF;
    answer := outbox_reschedule_one(event, due, actor, reason, asked);
    IF answer = 'rescheduled' THEN
        PERFORM FROM outbox_replays WHERE ended_at IS NULL FOR KEY SHARE;
        FOR delivery IN SELECT * FROM outbox_deliveries_of(event) LOOP
            answer := outbox_reschedule_one(delivery, due, actor, reason, asked);
            IF answer NOT IN ('rescheduled', 'cancelled', 'suppressed', 'unknown') THEN
                RAISE SQLSTATE 'OB003';
            END IF;
        END LOOP;
        answer := 'rescheduled';
    END IF;
    RETURN answer;
EXCEPTION
    WHEN lock_not_available THEN RETURN 'busy';
    WHEN SQLSTATE 'OB003' THEN RETURN answer;
END $$;
-- +goose StatementEnd

-- outbox_erase_one removes the payload, the headers and the errors of an event, and leaves its deliveries alone. The
-- function returns 'erased', or an answer of outbox_cancel_one that says why it could not erase the event. The
-- account and the ID stay. outboxd does not send an erased event again:
--
--   - A pending or held event, or one in flight that can be cancelled, is cancelled, even if its ID is also dead or
--     suppressed.
--   - A dead letter is discarded, so that it cannot be replayed.
--   - A confirmed event that is in outbox again moves to outbox_sent, as the relay would move it anyway. If
--     outbox_held has it too, the row with the higher generation moves, and the other one is absorbed. A repeat of a
--     cancelled event is absorbed.
--   - An event that was handed to Redis and that no consumer confirms is deleted from outbox_sent, as if its
--     history had ended.
--
-- The event's tasks become void, and the leader deletes them. If the function returns another answer than 'erased'
-- or 'unknown', it may have made some changes, and the caller must roll them back.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
    erased text := replace(replace(replace(columns, 'payload', quote_literal('') || '::bytea'), 'headers', quote_literal('{}') || '::jsonb'), 'last_error', 'NULL::text');
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_erase_one(event uuid, actor text, reason text, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    standing text := outbox_cancel_one(event, actor, reason, true, asked);
    waits text := standing; -- what waits of it, or took effect
    found_one integer;
    found_dead integer;
    keys text[];
BEGIN
    IF standing IN ('dead', 'suppressed') THEN
        waits := outbox_cancel_one(event, actor, reason, false, asked);
    END IF;
    IF standing = 'unknown' OR waits IN ('running', 'busy', 'queued')
       OR waits = 'in flight' AND NOT EXISTS (SELECT FROM outbox_sent s, outbox_queue_identity q WHERE s.id = event AND s.subscription IS NULL AND s.event_type = ANY (q.unconfirmed)) THEN
        RETURN waits;
    END IF;
    BEGIN
        WITH suppressed AS (
            UPDATE outbox_suppressed SET payload = '', headers = '{}', last_error = NULL WHERE id = event RETURNING generation
        ), cancelled AS (
            UPDATE outbox_cancelled SET payload = '', headers = '{}', last_error = NULL WHERE id = event RETURNING generation
        ), sent AS (
            UPDATE outbox_sent SET payload = '', headers = '{}', last_error = NULL WHERE id = event AND waits <> 'in flight' RETURNING generation, queue
        ), ended AS (
            DELETE FROM outbox_sent WHERE id = event AND waits = 'in flight' RETURNING event_type, created_at, generation, queue, sent_at
        ), back AS (
            DELETE FROM outbox WHERE id = event AND waits IN ('confirmed', 'cancelled') RETURNING %1$s
        ), held AS (
            DELETE FROM outbox_held WHERE id = event AND waits IN ('confirmed', 'cancelled') RETURNING %1$s
        ), waiting AS (
            SELECT *, row_number() OVER (ORDER BY generation DESC) AS n FROM (SELECT * FROM back UNION ALL SELECT * FROM held) AS both_tables
        ), moved AS (
            INSERT INTO outbox_sent (%1$s) SELECT %2$s FROM waiting WHERE waits = 'confirmed' AND n = 1 RETURNING generation, queue
        ), absorbed AS (
            INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM waiting WHERE waits = 'cancelled' OR n > 1
        ), dead AS (
            DELETE FROM outbox_dead WHERE id = event RETURNING event_type, created_at, generation, queue
        ), entered AS (
            INSERT INTO outbox_account AS a (day, event_type, discarded, unconfirmed)
            SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, sum(discarded), sum(unconfirmed) FROM (
                SELECT event_type, created_at, 1 AS discarded, 0 AS unconfirmed FROM dead
                UNION ALL SELECT event_type, created_at, 0, 1 FROM ended
            ) AS gone GROUP BY 1, 2
            ON CONFLICT (day, event_type) DO UPDATE SET discarded = a.discarded + excluded.discarded, unconfirmed = a.unconfirmed + excluded.unconfirmed
        ), tasks AS (
            SELECT generation, queue FROM sent UNION ALL SELECT generation, queue FROM ended UNION ALL SELECT generation, queue FROM moved UNION ALL SELECT generation, queue FROM dead
        ), void AS (
            INSERT INTO outbox_void_tasks AS v (event_id, queue, generation)
            SELECT event, queue, generation FROM tasks ORDER BY generation DESC LIMIT 1
            ON CONFLICT (event_id) DO UPDATE SET generation = greatest(v.generation, excluded.generation), removed_at = NULL
        ), every AS (
            SELECT generation FROM suppressed UNION ALL SELECT generation FROM cancelled UNION ALL SELECT generation FROM tasks
        ), noted AS (
            INSERT INTO outbox_journal (event_id, stage, entry, generation, detail, sent_at)
            SELECT event, 'person', 'erased', max(generation), 'by ' || actor || CASE WHEN reason <> '' THEN ': ' || reason ELSE '' END, (SELECT max(sent_at) FROM ended) FROM every HAVING count(*) > 0
        )
        SELECT count(*), (SELECT count(*) FROM dead), (SELECT array_agg(DISTINCT ordering_key) FILTER (WHERE ordering_key IS NOT NULL) FROM waiting)
        INTO found_one, found_dead, keys FROM every;
        -- The dead letter was replayed meanwhile, so the event has its turn again, and if it is a delivery, it has
        -- not ended.
        IF standing = 'dead' AND found_dead = 0 THEN
            RETURN 'busy';
        END IF;
        UPDATE outbox_journal SET detail = '' WHERE event_id = event AND stage <> 'person';
        IF standing = 'dead' THEN
            PERFORM outbox_pass_turn(event);
            PERFORM outbox_delivery_ended(event);
        END IF;
        IF keys IS NOT NULL THEN
            PERFORM outbox_advance(keys);
        END IF;
    EXCEPTION
        WHEN lock_not_available THEN RETURN 'busy';
    END;
    RETURN CASE WHEN found_one > 0 THEN 'erased' ELSE 'unknown' END;
END $$
$ddl$, columns, erased); END $do$;
-- +goose StatementEnd

-- outbox_erase erases an event and all its deliveries, or none of them. outbox_erase returns the same answers as
-- outbox_erase_one. Deliveries may exist even if the event itself is no longer in any table. The function waits for
-- replays to subscriptions in the same way as outbox_cancel.
-- +goose StatementBegin
CREATE FUNCTION outbox_erase(event uuid, actor text, reason text, asked boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    answer text;
    one text;
    delivery uuid;
BEGIN
    answer := outbox_erase_one(event, actor, reason, asked);
    IF answer NOT IN ('erased', 'unknown') THEN
        RAISE SQLSTATE 'OB003';
    END IF;
    PERFORM FROM outbox_replays WHERE ended_at IS NULL FOR KEY SHARE;
    FOR delivery IN SELECT * FROM outbox_deliveries_of(event) LOOP
        one := outbox_erase_one(delivery, actor, reason, asked);
        IF one NOT IN ('erased', 'unknown') THEN
            answer := one;
            RAISE SQLSTATE 'OB003';
        ELSIF one = 'erased' THEN
            answer := one;
        END IF;
    END LOOP;
    RETURN answer;
EXCEPTION
    WHEN lock_not_available THEN RETURN 'busy';
    WHEN SQLSTATE 'OB003' THEN RETURN answer;
END $$;
-- +goose StatementEnd

-- outbox_tasks_of returns the tasks of the given events and of their deliveries that are void or cancelled and may
-- still be in Redis, for a caller that deletes them at once.
-- +goose StatementBegin
CREATE FUNCTION outbox_tasks_of(events uuid[]) RETURNS TABLE (event_id uuid, queue text, generation integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH asked AS (
        SELECT e AS id FROM unnest(events) AS e UNION SELECT d FROM unnest(events) AS e, outbox_deliveries_of(e) AS d
    )
    SELECT v.event_id, v.queue, v.generation FROM outbox_void_tasks v JOIN asked a ON a.id = v.event_id WHERE v.removed_at IS NULL
    UNION ALL
    SELECT c.id, c.queue, c.generation FROM outbox_cancelled c JOIN asked a ON a.id = c.id WHERE c.removed_at IS NULL
$$;
-- +goose StatementEnd

-- outbox_asked_tasks is for callers that set asked. It returns the former tasks of the changed
-- events whose types are in outward, and of the changed events' deliveries. The caller may commit
-- only if none of these tasks, and no earlier generation of one, is active in Redis.
-- +goose StatementBegin
CREATE FUNCTION outbox_asked_tasks(events uuid[]) RETURNS TABLE (origin uuid, event_id uuid, queue text, generation integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH changed AS (
        SELECT e AS origin, e AS id FROM unnest(events) AS e UNION SELECT e, d FROM unnest(events) AS e, outbox_deliveries_of(e) AS d
    ), waiting AS (
        SELECT id, event_type, subscription FROM outbox WHERE id IN (SELECT id FROM changed)
        UNION ALL SELECT id, event_type, subscription FROM outbox_held WHERE id IN (SELECT id FROM changed)
    ), tasks AS (
        SELECT h.origin, h.id, c.queue, c.generation, c.event_type, c.subscription
        FROM changed h JOIN outbox_cancelled c ON c.id = h.id WHERE c.removed_at IS NULL
        UNION ALL
        SELECT h.origin, h.id, v.queue, v.generation, w.event_type, w.subscription
        FROM changed h JOIN outbox_void_tasks v ON v.event_id = h.id JOIN waiting w ON w.id = h.id WHERE v.removed_at IS NULL
    )
    SELECT t.origin, t.id, t.queue, t.generation FROM tasks t
    WHERE t.subscription IS NOT NULL OR EXISTS (SELECT FROM outbox_queue_identity q WHERE t.event_type = ANY (q.outward))
$$;
-- +goose StatementEnd

-- outbox_ask is for consumers that act outside the database. It gives the answers of confirm_many. The caller rolls
-- back after outbox_ask, and then acts.
--
-- confirm_many may wait for a transaction that moves an event to a later time. When that transaction has ended,
-- confirm_many still answers 'first', because the trigger outbox_confirmed checks for such a move when the caller
-- commits, and refuses the event. A caller that rolls back never reaches that check, and would act too early. So
-- outbox_ask looks for such moves in a second statement, which sees the transactions that have ended meanwhile, and
-- answers 'early'.
-- +goose StatementBegin
CREATE FUNCTION outbox_ask(events uuid[]) RETURNS TABLE (event_id uuid, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    ids uuid[];
    answers text[];
BEGIN
    SELECT array_agg(c.event_id), array_agg(c.answer) INTO ids, answers FROM confirm_many(events) AS c;
    RETURN QUERY SELECT a.id, CASE
            WHEN a.answer = 'first' AND EXISTS (SELECT FROM outbox_void_tasks v WHERE v.event_id = a.id AND v.until > clock_timestamp()) THEN 'early'
            ELSE a.answer
        END
        FROM unnest(ids, answers) AS a(id, answer);
END $$;
-- +goose StatementEnd

-- outbox_request stores a request to change an event, and returns 'requested'. The leader carries the request out.
-- The journal says who asked for the change.
-- +goose StatementBegin
CREATE FUNCTION outbox_request(event uuid, due timestamptz, actor text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO outbox_requests AS r (event_id, due, actor, reason) VALUES ($1, $2, $3, $4)
    ON CONFLICT (event_id) DO UPDATE SET due = excluded.due, actor = excluded.actor, reason = excluded.reason, requested_at = excluded.requested_at;
    INSERT INTO outbox_journal (event_id, stage, entry, generation, detail)
    VALUES ($1, 'person', 'requested', 0, CASE WHEN $2 IS NULL THEN 'to be cancelled'
            ELSE format('to be moved to %s UTC', to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) END
        || ', by ' || $3 || CASE WHEN $4 <> '' THEN ': ' || $4 ELSE '' END);
    RETURN 'requested';
END $$;
-- +goose StatementEnd

-- outbox_moves_since returns how often an event was moved to another time, counted from the given moment on.
CREATE FUNCTION outbox_moves_since(event uuid, since timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT count(*) FROM outbox_journal WHERE event_id = event AND at > since AND entry = 'rescheduled'
$$;

-- The leader calls outbox_carry_out, which makes the changes that producers asked for with outbox_request. For every
-- event that is not in not_asked, the leader looks into Redis before it commits, as the comment on outbox_standing
-- says. The request stays if the answer is running, busy or queued, and ends with any other answer. If it was too late
-- for the request, the journal says why.
--
-- If the event was moved to another time after the request, that later change counts, and the request ends with
-- 'superseded'. The transaction of the later change cannot delete the request. It has locked the event already, and
-- the leader locks the request before the event, so the two could deadlock. So this function compares the times. This
-- function compares the times again after its own change: then it holds the locks of the event, and sees every
-- earlier change.
-- +goose StatementBegin
CREATE FUNCTION outbox_carry_out(events uuid[], not_asked uuid[]) RETURNS TABLE (event_id uuid, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    r outbox_requests;
    done text;
BEGIN
    FOR r IN SELECT * FROM outbox_requests WHERE event_id = ANY (events) ORDER BY event_id FOR UPDATE SKIP LOCKED LOOP
        BEGIN
            IF outbox_moves_since(r.event_id, r.requested_at) > 0 THEN
                RAISE SQLSTATE 'OB003';
            ELSIF r.due IS NULL THEN
                done := outbox_cancel(r.event_id, r.actor, r.reason, r.event_id <> ALL (not_asked));
            ELSE
                done := outbox_reschedule(r.event_id, r.due, r.actor, r.reason, r.event_id <> ALL (not_asked));
            END IF;
            IF outbox_moves_since(r.event_id, r.requested_at) > (done = 'rescheduled')::integer THEN
                RAISE SQLSTATE 'OB003';
            END IF;
        EXCEPTION WHEN SQLSTATE 'OB003' THEN
            done := 'superseded';
        END;
        IF done NOT IN ('running', 'busy', 'queued') THEN
            DELETE FROM outbox_requests WHERE event_id = r.event_id;
            IF done <> (CASE WHEN r.due IS NULL THEN 'cancelled' ELSE 'rescheduled' END) THEN
                INSERT INTO outbox_journal (event_id, stage, entry, generation, detail)
                VALUES (r.event_id, 'person', 'too late', 0, CASE WHEN r.due IS NULL THEN 'not cancelled: ' ELSE 'not moved: ' END || done || ', asked by ' || r.actor);
            END IF;
        END IF;
        RETURN QUERY SELECT r.event_id, done;
    END LOOP;
END $$;
-- +goose StatementEnd

-- cancel cancels an event in the caller's transaction. cancel returns 'cancelled' if the event certainly has no
-- effect once the caller commits, even if it was cancelled before. cancel returns 'requested' if only the leader can
-- cancel the event, after the caller's transaction. In all other cases cancel returns why it did not cancel the event;
-- see outbox_cancel_one. After 'cancelled', a handler that begins with the event waits until the caller's transaction
-- has ended. cancel and reschedule are SECURITY DEFINER: a producer needs only EXECUTE and the event's ID.
-- +goose StatementBegin
CREATE FUNCTION cancel(event_id uuid, reason text DEFAULT '') RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    answer text := outbox_cancel($1, session_user, coalesce($2, ''));
BEGIN
    RETURN CASE WHEN answer = 'queued' THEN outbox_request($1, NULL, session_user, coalesce($2, '')) ELSE answer END;
END $$;
-- +goose StatementEnd

-- reschedule moves an event that has not taken effect to an earlier or later time, in the caller's transaction.
-- reschedule returns 'rescheduled', or 'requested' if only the leader can move the event. In all other cases
-- reschedule returns why it did not move the event; see outbox_reschedule_one. A time outside the years 1 to 9999
-- is an error. After 'rescheduled', a handler that begins with the event waits until the caller's transaction has
-- ended.
-- +goose StatementBegin
CREATE FUNCTION reschedule(event_id uuid, available_at timestamptz, reason text DEFAULT '') RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    answer text := outbox_reschedule($1, $2, session_user, coalesce($3, ''));
BEGIN
    RETURN CASE WHEN answer = 'queued' THEN outbox_request($1, $2, session_user, coalesce($3, '')) ELSE answer END;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION reschedule;
DROP FUNCTION cancel;
DROP FUNCTION outbox_carry_out;
DROP FUNCTION outbox_moves_since;
DROP FUNCTION outbox_request;
DROP FUNCTION outbox_ask;
DROP FUNCTION outbox_asked_tasks;
DROP FUNCTION outbox_erase;
DROP FUNCTION outbox_erase_one;
DROP FUNCTION outbox_tasks_of;
DROP FUNCTION outbox_reschedule;
DROP FUNCTION outbox_reschedule_one;
DROP TRIGGER outbox_took_back ON outbox_cancelled;
DROP FUNCTION outbox_took_back;
DROP FUNCTION outbox_cancel;
DROP FUNCTION outbox_cancel_one;
DROP FUNCTION outbox_deliveries_of;
DROP FUNCTION outbox_standing;
DROP TABLE outbox_requests;
