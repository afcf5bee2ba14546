-- Order per key: events of one ordering key take effect one after another.
--
-- At any time at most one event of an ordering key has the turn. Only this event may be published and take effect. In
-- the transaction of its effect, the events that outbox_follow returns may take effect too. If the relay claims
-- another event of the key, the relay moves that event from outbox to outbox_held. When an event is confirmed (it gets
-- a row in inbox), the same transaction gives the turn to the next held event of the key, if there is one. Events
-- without an ordering key need no turn.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_held has held events, which wait for the turn of their ordering key. outbox_held has all columns of outbox,
-- because held events return to outbox.
CREATE TABLE outbox_held (
    LIKE outbox,
    held_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

ALTER TABLE outbox_held ALTER COLUMN ordering_key SET NOT NULL, ALTER COLUMN ordering_position SET NOT NULL;

CREATE INDEX outbox_held_key ON outbox_held (ordering_key, ordering_position);

-- outbox_turns has the event with the turn, for each ordering key that has such an event. The event with the turn is
-- in outbox, was handed to Redis, or is a dead letter, if dead letters keep the turn (relay.ordering is block). For
-- a short time it may also be held (see outbox_let_go) or already confirmed (see outbox_advance). A statement that
-- locks rows of both outbox_turns and outbox_held locks the turn first, except in outbox_set_aside for an event
-- without an ID.
--
-- The constraint that an event has at most one turn is DEFERRABLE, so PostgreSQL checks it at the end of a statement.
-- Two transactions may give the same event the turn at the same time. Then the second of these transactions must wait
-- for the first at the primary key, ordering_key (see outbox_advance). A check in the middle of the INSERT would
-- raise an error instead.
CREATE TABLE outbox_turns (
    ordering_key text        PRIMARY KEY,
    event_id     uuid        NOT NULL UNIQUE DEFERRABLE,
    taken_at     timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

-- outbox_next_of_key returns the first held event of an ordering key. outbox_next_of_key returns NULL if an earlier
-- event of the key is still in outbox. The relay that claims that event calls outbox_advance, which calls this
-- function again. One statement reads both tables, so an event that is being moved is seen in exactly one of them.
--
-- A held delivery also waits for an earlier event of the same key whose deliveries are not made yet, and for the end
-- of a replay to its subscription. The second parameter, named but, is the event that still has the turn, or NULL. A
-- row of that event in outbox is ignored, because the event's effect may be committed before the claim that
-- published the event.
-- +goose StatementBegin
CREATE FUNCTION outbox_next_of_key(key text, but uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN (
    SELECT h.id
    FROM (SELECT id, ordering_position, subscription FROM outbox_held WHERE ordering_key = key ORDER BY ordering_position LIMIT 1) h
    WHERE NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.ordering_key = key AND o.ordering_position < h.ordering_position AND o.id IS DISTINCT FROM but)
      AND CASE WHEN h.subscription IS NULL THEN true ELSE NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.ordering_key = substr(key, length(outbox_delivery_key(h.subscription, '')) + 1) AND o.ordering_position < h.ordering_position
          AND o.split IS NULL AND o.subscription IS NULL)
        AND NOT EXISTS (SELECT FROM outbox_replays r WHERE r.subscription = h.subscription AND r.ended_at IS NULL) END);
END $$;
-- +goose StatementEnd

-- outbox_let_go moves a held event back to outbox. If the event's due time is in the past, the event becomes due now,
-- because the relay's cursor may have passed the earlier time. The event's deliveries were made when it was first
-- claimed. The function returns false if the event is not in outbox afterwards, because it was no longer held, or
-- because outbox refused it. In the second case it is a dead letter now. If it cannot become one either, it is still
-- held, and the server logs a warning.
--
-- If the producer meanwhile wrote the same ID again, that repeat is removed from outbox. If a relay is claiming the
-- repeat, the function does not wait for the relay, because the function may run in the commit of a consumer. For the
-- same reason the function waits only briefly for a transaction that has cancelled or moved the held event, or written
-- it again, and that is still open. In these cases the event stays held, with the turn. The relay that claims the
-- repeat, or otherwise the leader, calls outbox_advance, which calls this function again.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_let_go(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '100ms' AS $$
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
            INSERT INTO outbox (%1$s)
            SELECT %2$s
            FROM gone
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        ), repeats AS (
            INSERT INTO outbox_entries (event_type, created_at, repeated)
            SELECT event_type, created_at, 1 FROM gone WHERE NOT EXISTS (SELECT FROM back)
        )
        SELECT count(*) INTO moved FROM gone;
    EXCEPTION
    WHEN lock_not_available THEN
        moved := 1;
    WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR raise_exception THEN
        moved := 0;
        SELECT ctid INTO place FROM outbox_held WHERE id = event FOR UPDATE SKIP LOCKED;
        IF FOUND AND outbox_set_aside('outbox_held', place, SQLERRM) IS NULL THEN
            RAISE WARNING 'event %% stays held: it can neither return to the outbox nor become a dead letter: %%', event, SQLERRM;
        END IF;
    END;
    PERFORM set_config('outboxd.moving', moving, true);
    RETURN moved > 0;
END $$
$ddl$, columns, replace(replace(columns, 'available_at', 'greatest(available_at, clock_timestamp())'), 'split', 'coalesce(split, ''done'')')); END $do$;
-- +goose StatementEnd

-- outbox_absorb removes a held row that repeats an event: a producer wrote the same ID twice, and the first row has
-- the turn of another ordering key. The first row counts.
--
-- The second row may be the only row that is left: if an event goes back to outbox and finds a repeat there, the
-- repeat stays. Then outbox_absorb gives the repeat the ordering key for which outbox_turns names this event, and
-- moves the repeat to outbox. A dead letter with the same ID does not count as a first row here: the repeat of a dead
-- event is relayed.
-- +goose StatementBegin
CREATE FUNCTION outbox_absorb(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    WITH repeats AS (
        DELETE FROM outbox_held WHERE id = event
          AND (EXISTS (SELECT FROM outbox o WHERE o.id = event) OR EXISTS (SELECT FROM outbox_sent s WHERE s.id = event)
            OR EXISTS (SELECT FROM inbox i WHERE i.event_id = event))
        RETURNING event_type, created_at
    )
    INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM repeats;
    IF FOUND THEN
        RETURN;
    END IF;
    UPDATE outbox_held h SET ordering_key = t.ordering_key FROM outbox_turns t WHERE h.id = event AND t.event_id = event;
    PERFORM outbox_let_go(event);
END $$;
-- +goose StatementEnd

-- outbox_pass_turn ends an event's turn and gives the turn to the event that outbox_next_of_key returns, if there is
-- one. If the event does not have a turn, the function does nothing.
-- +goose StatementBegin
CREATE FUNCTION outbox_pass_turn(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
        -- If an event can neither be released nor become a dead letter, it is returned again: stop.
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
END $$;
-- +goose StatementEnd

-- outbox_advance releases the next event of each given ordering key if no event has the key's turn. outbox_advance
-- returns how many turns of confirmed events it ended, plus how many other events it released. A relay calls
-- outbox_advance for the keys of a batch after the batch has committed. An event of the batch may have been confirmed
-- before that commit, and its confirmation passes the turn on only once. The function also checks the ordering keys of
-- deliveries that belong to the given keys.
--
-- ON CONFLICT DO UPDATE with the condition false updates no row, but waits for a transaction that is passing the turn
-- on. ON CONFLICT DO NOTHING would not wait for that transaction: the function would take a turn that is about to end
-- for a lasting one. The event would then wait until the leader checks the key. Keys are processed in order, so that
-- two callers do not deadlock.
--
-- If the event with the turn is already confirmed, the function ends that turn and looks for the key's next event.
-- The transaction that confirmed that event may have looked for a next event before the events of this batch were
-- held. If the function did not look again, the events of the key would wait until the leader checks the key.
-- +goose StatementBegin
CREATE FUNCTION outbox_advance(keys text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    key text;
    owner uuid;
    next uuid;
    tried uuid;
    advanced integer := 0;
BEGIN
    FOR key IN
        SELECT DISTINCT k FROM (
            SELECT k FROM unnest(keys) AS k
            UNION ALL
            SELECT outbox_delivery_key(s.name, k) FROM outbox_subscriptions s, unnest(keys) AS k
            WHERE s.ordering = 'key' AND EXISTS (SELECT FROM outbox_held h WHERE h.ordering_key = outbox_delivery_key(s.name, k))
        ) AS both_kinds ORDER BY k
    LOOP
        SELECT event_id INTO owner FROM outbox_turns JOIN inbox USING (event_id) WHERE ordering_key = key;
        IF FOUND THEN
            PERFORM outbox_pass_turn(owner);
            advanced := advanced + 1;
        END IF;
        -- An event can have the turn and still be held; see outbox_let_go.
        SELECT t.event_id INTO owner FROM outbox_turns t JOIN outbox_held h ON h.id = t.event_id
        WHERE t.ordering_key = key AND h.ordering_key = key FOR UPDATE OF h SKIP LOCKED;
        IF FOUND AND outbox_let_go(owner) THEN
            advanced := advanced + 1;
        END IF;
        tried := NULL;
        LOOP
            next := outbox_next_of_key(key, NULL);
            -- If an event can neither be released nor become a dead letter, it is returned again: stop.
            EXIT WHEN next IS NULL OR next IS NOT DISTINCT FROM tried;
            tried := next;
            IF EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = next AND t.ordering_key <> key) THEN
                PERFORM outbox_absorb(next);
                CONTINUE;
            END IF;
            INSERT INTO outbox_turns AS t (ordering_key, event_id) VALUES (key, next)
            ON CONFLICT (ordering_key) DO UPDATE SET event_id = t.event_id WHERE false;
            EXIT WHEN NOT FOUND;
            -- Before or during the INSERT, another session may have given the event the turn, and the event may have
            -- taken effect. In this case, look for the key's next event again.
            IF NOT EXISTS (SELECT FROM outbox_held h WHERE h.id = next) THEN
                DELETE FROM outbox_turns WHERE ordering_key = key;
                tried := NULL;
                CONTINUE;
            END IF;
            IF outbox_let_go(next) THEN
                advanced := advanced + 1;
                EXIT;
            END IF;
            DELETE FROM outbox_turns WHERE ordering_key = key;
        END LOOP;
    END LOOP;
    RETURN advanced;
END $$;
-- +goose StatementEnd

-- outbox_in_time raises OB001 if an event may not take effect yet, because it was moved to a later time.
-- outbox_in_time raises 40001 if the transaction's snapshot is too old to show whether the event was moved.
-- +goose StatementBegin
CREATE FUNCTION outbox_in_time(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    moved_to timestamptz;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        INSERT INTO outbox_void_tasks (event_id, queue, generation) VALUES (event, '', 0) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            DELETE FROM outbox_void_tasks WHERE event_id = event;
        END IF;
    END IF;
    SELECT until INTO moved_to FROM outbox_void_tasks WHERE event_id = event AND until > clock_timestamp();
    IF FOUND THEN
        RAISE EXCEPTION 'event % may not take effect yet: it was moved to %', event, moved_to
            USING ERRCODE = 'OB001', HINT = 'Give the task back without charging it an attempt. The event comes again when it is time.';
    END IF;
END $$;
-- +goose StatementEnd

-- This deferred trigger passes the turn on at the commit of the consumer's transaction. The locks of the trigger
-- therefore last only as long as the commit, and not while the handler works. In READ COMMITTED, an event without an
-- ordering key costs one lookup in each of two small indexes. To keep these lookups cheap, the function sets no
-- search_path, which PostgreSQL would set and reset on every call. Instead it writes the schema before every name.
--
-- The trigger also refuses an event that was moved to a later time while this transaction waited to confirm it; see
-- outbox_reschedule_one. A snapshot that is older than the move does not show the move. So outside READ COMMITTED,
-- outbox_in_time tries to write the row that the move wrote into outbox_void_tasks. The event's row in inbox may
-- already be deleted, because outbox_reschedule_one writes it only as a lock.
--
-- The figures count each confirmation by processed_at, some seconds late (overview.ConfirmedLate). They would miss a
-- confirmation that becomes visible later than that. So the row of a transaction that has lasted longer than five
-- seconds gets the present time.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_confirmed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.processed_at OPERATOR(pg_catalog.=) pg_catalog.now()
       AND pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) (NEW.processed_at OPERATOR(pg_catalog.+) '5 seconds'::pg_catalog.interval) THEN
        UPDATE %1$I.inbox SET began_at = processed_at, processed_at = pg_catalog.clock_timestamp() WHERE event_id OPERATOR(pg_catalog.=) NEW.event_id;
    END IF;
    PERFORM 1 FROM %1$I.outbox_turns WHERE event_id OPERATOR(pg_catalog.=) NEW.event_id
    UNION ALL SELECT 1 FROM %1$I.outbox_void_tasks WHERE event_id OPERATOR(pg_catalog.=) NEW.event_id AND until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
    IF FOUND OR pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
        PERFORM FROM %1$I.inbox i WHERE i.event_id OPERATOR(pg_catalog.=) NEW.event_id;
        IF FOUND THEN
            PERFORM %1$I.outbox_in_time(NEW.event_id);
            PERFORM %1$I.outbox_pass_turn(NEW.event_id);
        END IF;
    END IF;
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER outbox_confirmed AFTER INSERT ON inbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox_confirmed();

-- outbox_follow returns held events that may take effect in the calling transaction. The parameter owners names
-- events that this transaction has just confirmed and that have the turns of their ordering keys. For each owner the
-- function returns the next events of the owner's key, in order. The parameters kind and line are the type and the
-- queue that they must have. The last parameter, named most, is the largest number of events for all owners together.
-- The function also stops when the payloads and headers of the returned events have reached 4 MiB, because the caller
-- reads all of them at once. The caller handles the events in this order, each after its owner, and calls
-- outbox_end_run as the last step. These events need no task in Redis.
--
--   - The returned rows are locked, and stay in outbox_held until outbox_end_run. The turn is not locked. The owner
--     has the turn until the owner's row in inbox is committed, and before that no other event of the key can get
--     it. So no relay waits for the caller, and no producer that emits. The functions that cancel, move or erase an
--     event wait for these locks, and after 500 ms answer busy.
--   - For each key the function stops at the first event that is locked, not yet due, or of another type or queue.
--     outbox_follow also stops at a delivery, at an event that has only deliveries, at an event that was written
--     again, and at an event with a timeout, a deadline, a retention or a unique lock. outbox_follow also stops at an
--     event whose generation is above 0: the event was replayed, or may have a task in Redis for an earlier time.
--     outbox_follow also stops if an earlier event of the key is in outbox. The event at which outbox_follow stops
--     waits for the turn as before.
--   - If the relays noticed that this database may have gone back to an earlier state, outbox_follow also stops at an
--     event whose created_at, or the time in its ID, is before that moment or less than a minute after it. In the state
--     that was lost, the event may have been handed over, and its task may still be in Redis. The minute is for clocks
--     of servers that differ.
--   - The function returns no events if no history is kept, or if the transaction is not READ COMMITTED.
-- +goose StatementBegin
CREATE FUNCTION outbox_follow(owners uuid[], kind text, line text, most integer)
    RETURNS TABLE (owner uuid, id uuid, payload bytea, headers jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    turn record;
    candidate uuid;
    event outbox_held;
    doubted timestamptz;
    room integer := most;
    bytes bigint := 4 << 20;
BEGIN
    SELECT went_back_at + interval '1 minute' INTO doubted FROM outbox_queue_identity WHERE history_seconds > 0;
    IF NOT FOUND OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    FOR turn IN SELECT t.event_id, t.ordering_key FROM outbox_turns t WHERE t.event_id = ANY (owners) ORDER BY t.ordering_key LOOP
        -- One statement reads both tables, so an event that is being moved is seen in exactly one of them.
        FOR candidate IN
            SELECT h.id
            FROM (SELECT h.id, h.ordering_position FROM outbox_held h WHERE h.ordering_key = turn.ordering_key ORDER BY h.ordering_position LIMIT room) AS h
            WHERE NOT EXISTS (
                SELECT FROM outbox o WHERE o.ordering_key = turn.ordering_key AND o.ordering_position < h.ordering_position AND o.id <> turn.event_id)
            ORDER BY h.ordering_position
        LOOP
            SELECT * INTO event FROM outbox_held h WHERE h.id = candidate FOR UPDATE SKIP LOCKED;
            EXIT WHEN NOT FOUND;
            EXIT WHEN event.event_type <> kind OR event.queue <> line OR event.subscription IS NOT NULL OR event.split = 'instead'
                OR event.available_at > clock_timestamp() OR event.generation > 0 OR least(event.created_at, outbox_id_time(event.id)) < doubted
                OR coalesce(event.timeout_seconds, event.retention_seconds, event.unique_seconds) IS NOT NULL OR event.deadline IS NOT NULL
                OR EXISTS (SELECT FROM outbox o WHERE o.id = event.id)
                OR EXISTS (SELECT FROM inbox i WHERE i.event_id = event.id)
                OR EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = event.id);
            owner := turn.event_id;
            id := event.id;
            payload := event.payload;
            headers := event.headers;
            RETURN NEXT;
            room := room - 1;
            bytes := bytes - octet_length(payload) - octet_length(headers::text);
            EXIT WHEN bytes <= 0;
        END LOOP;
        EXIT WHEN room <= 0 OR bytes <= 0;
    END LOOP;
END $$;
-- +goose StatementEnd

-- outbox_end_run confirms the events that outbox_follow returned, and moves them to outbox_sent. If one of these
-- events is no longer held, or was confirmed before, the function and the transaction fail.
-- +goose StatementBegin
DO $do$
DECLARE
    columns text := (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                     WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped);
BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_end_run(ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    moved integer;
    confirmed integer;
BEGIN
    WITH gone AS (DELETE FROM outbox_held WHERE id = ANY (ids) RETURNING *)
    INSERT INTO outbox_sent (%1$s, sent_at) SELECT %2$s, clock_timestamp() FROM gone;
    GET DIAGNOSTICS moved = ROW_COUNT;
    INSERT INTO inbox (event_id) SELECT unnest(ids);
    GET DIAGNOSTICS confirmed = ROW_COUNT;
    IF moved <> cardinality(ids) OR confirmed <> cardinality(ids) THEN
        RAISE serialization_failure USING MESSAGE = format('of %%s events that follow another one %%s were held and %%s are confirmed', cardinality(ids), moved, confirmed);
    END IF;
END $$
$ddl$, columns, replace(columns, 'split', 'coalesce(split, ''done'')')); END $do$;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER outbox_confirmed ON inbox;
DROP FUNCTION outbox_confirmed;
DROP FUNCTION outbox_in_time;
DROP FUNCTION outbox_end_run;
DROP FUNCTION outbox_follow;
DROP FUNCTION outbox_advance;
DROP FUNCTION outbox_pass_turn;
DROP FUNCTION outbox_let_go;
DROP FUNCTION outbox_absorb;
DROP FUNCTION outbox_next_of_key;
DROP TABLE outbox_turns;
-- Move held events back to outbox, because otherwise they would be lost. Their order is not kept.
ALTER TABLE outbox_held DROP COLUMN held_at;
INSERT INTO outbox SELECT * FROM outbox_held ON CONFLICT (id) DO NOTHING;
DROP TABLE outbox_held;
