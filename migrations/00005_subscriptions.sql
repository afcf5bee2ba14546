-- Subscriptions say which events go to which receivers by HTTP. The relay reads the subscriptions with each
-- claim and makes the deliveries. Producers need not know the subscriptions.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE outbox_subscriptions (
    -- The IDs of deliveries are computed from the subscription's ID. A new subscription with the name of a removed
    -- one gets another ID, so that confirmations for the removed subscription do not count for the new one.
    id               uuid        PRIMARY KEY DEFAULT outbox_new_id(),
    name             text        NOT NULL UNIQUE,
    types            text[]      NOT NULL, -- as written in the file
    patterns         text[]      NOT NULL, -- the same as patterns of LIKE
    headers          jsonb       NOT NULL DEFAULT '{}',
    url              text        NOT NULL,
    secrets          text[]      NOT NULL DEFAULT '{}', -- references, never the secrets
    format           text        NOT NULL,
    timeout_ms       bigint      NOT NULL,
    concurrency      integer     NOT NULL,
    rate             float8      NOT NULL DEFAULT 0, -- deliveries a second; 0: no limit
    attempts         integer     NOT NULL,
    retry_max_ms     bigint      NOT NULL,
    ordering         text        NOT NULL CONSTRAINT outbox_subscriptions_ordering_is_known CHECK (ordering IN ('key', 'none')),
    instead_of_queue boolean     NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    changed_at       timestamptz NOT NULL DEFAULT now(),
    paused_at        timestamptz,
    paused_by        text        NOT NULL DEFAULT '',
    pause_reason     text        NOT NULL DEFAULT '',
    removed_at       timestamptz, -- no further deliveries are made
    -- A worker's report that the receiver is down. The report is valid until down_until. Workers repeat the report
    -- while the receiver is down.
    down_since       timestamptz,
    down_until       timestamptz,
    down_reason      text        NOT NULL DEFAULT ''
);

-- A change of a subscription notifies processes that run a relay, so that a worker in the same process knows the
-- change at once. The workers' reports about a receiver do not notify.
-- +goose StatementBegin
CREATE FUNCTION outbox_subscriptions_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('outbox_wake', TG_TABLE_SCHEMA OPERATOR(pg_catalog.||) ' subscriptions');
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER outbox_subscriptions_changed AFTER INSERT OR DELETE OR UPDATE OF id, changed_at, paused_at, removed_at ON outbox_subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_subscriptions_changed();

-- outbox_former_subscriptions has the IDs of removed subscriptions whose name was used again. Deliveries of these
-- subscriptions may still exist.
CREATE TABLE outbox_former_subscriptions (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL,
    removed_at timestamptz NOT NULL
);

-- outbox_awaited has the unfinished deliveries of events that have only deliveries and no task of their own. An event
-- that has only deliveries is confirmed when all its deliveries have ended. If delivery_id is the event's own ID, the
-- leader still has to look for deliveries that were made before; see outbox_await.
CREATE TABLE outbox_awaited (
    delivery_id uuid PRIMARY KEY,
    event_id    uuid NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX outbox_awaited_event ON outbox_awaited (event_id);

-- outbox_replays has the replays to subscriptions. A replay makes deliveries of events that were relayed without them,
-- mostly because the subscription did not exist yet. A subscription has at most one row, for its last replay. During a
-- replay no delivery of the subscription gets the turn of its ordering key (see outbox_next_of_key). The reason is
-- that the replay reads events in the order of their IDs, which is not their order within an ordering key.
CREATE TABLE outbox_replays (
    subscription    text        PRIMARY KEY, -- the name
    subscription_id uuid        NOT NULL,
    since           timestamptz NOT NULL, -- events that were emitted from then on
    action_id       uuid,                 -- in outbox_actions
    begun_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    moved_at        timestamptz NOT NULL DEFAULT clock_timestamp(), -- when it last got on
    done_until      uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the last event that was looked at
    matched         bigint      NOT NULL DEFAULT 0,
    made            bigint      NOT NULL DEFAULT 0, -- deliveries; the others of matched were there before
    refused         bigint      NOT NULL DEFAULT 0, -- events for which no delivery can be made
    ended_at        timestamptz
) WITH (fillfactor = 50);

-- outbox_deliveries_over confirms an event that has only deliveries, unless it still waits for one of them.
--
-- A producer may write an ID again, and the subscriptions may have changed meanwhile. Then the event has a row of its
-- own queue beside the row that has only deliveries. The function does not confirm such an event: the task of its own
-- queue could then have no effect. That task confirms the event.
--
-- The event may have been moved to a later time, and then its last delivery was cancelled, discarded, or moved to an
-- earlier time. The inbox would refuse the event, so the function first removes that later time.
-- +goose StatementBegin
CREATE FUNCTION outbox_deliveries_over(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM outbox_awaited WHERE event_id = event)
       AND NOT EXISTS (SELECT FROM outbox_sent s WHERE s.id = event AND s.split IS DISTINCT FROM 'instead')
       AND NOT EXISTS (SELECT FROM outbox o WHERE o.id = event AND o.split = 'done')
       AND NOT EXISTS (SELECT FROM outbox_held h WHERE h.id = event)
       AND NOT EXISTS (SELECT FROM outbox_dead d WHERE d.id = event) THEN
        UPDATE outbox_void_tasks SET until = '-infinity' WHERE event_id = event AND until > clock_timestamp();
        INSERT INTO inbox (event_id) VALUES (event) ON CONFLICT DO NOTHING;
    END IF;
END $$;
-- +goose StatementEnd

-- outbox_delivery_ended is called when a delivery is confirmed, cancelled or discarded. If the event has only
-- deliveries and waits for no other one, the function confirms the event. The advisory lock serializes two deliveries
-- of an event that end at the same time, so that the second sees the result of the first.
-- +goose StatementBegin
CREATE FUNCTION outbox_delivery_ended(delivery uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    event uuid;
BEGIN
    SELECT event_id INTO event FROM outbox_awaited WHERE delivery_id = delivery;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || ' ' || event, 5130742286));
    DELETE FROM outbox_awaited WHERE delivery_id = delivery;
    IF FOUND THEN
        PERFORM outbox_deliveries_over(event);
    END IF;
END $$;
-- +goose StatementEnd

-- The leader calls outbox_await for an event that has only deliveries, in two cases:
--
--   - A producer wrote the event again, and some of its deliveries were made before. The event waits for those that
--     have not ended.
--   - A delivery of the event is confirmed, and the event still waits for it. The transaction that confirmed the delivery
--     was open when the event was claimed again, so neither saw the other.
--
-- If all deliveries have ended, the function confirms the event. The function does not wait: if another session works
-- on the event, the function does nothing, and the leader calls it again later.
-- +goose StatementBegin
CREATE FUNCTION outbox_await(event uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '10ms' AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' ' || event, 5130742286)) THEN
        RETURN;
    END IF;
    DELETE FROM outbox_awaited WHERE delivery_id = event;
    IF FOUND THEN
        INSERT INTO outbox_awaited (delivery_id, event_id)
        SELECT d.id, event FROM outbox_deliveries_of(event) AS d(id)
        WHERE EXISTS (SELECT FROM outbox o WHERE o.id = d.id) OR EXISTS (SELECT FROM outbox_held h WHERE h.id = d.id)
           OR EXISTS (SELECT FROM outbox_sent s WHERE s.id = d.id) OR EXISTS (SELECT FROM outbox_dead e WHERE e.id = d.id)
        ON CONFLICT (delivery_id) DO NOTHING;
    END IF;
    DELETE FROM outbox_awaited a WHERE a.event_id = event AND EXISTS (SELECT FROM inbox i WHERE i.event_id = a.delivery_id);
    PERFORM outbox_deliveries_over(event);
EXCEPTION WHEN lock_not_available OR SQLSTATE 'OB001' THEN
    NULL;
END $$;
-- +goose StatementEnd

-- outbox_reschedule_one inserts a delivery into the inbox only as a lock, and deletes the row at once. The setting
-- outboxd.barring names that delivery: it has not ended.
-- +goose StatementBegin
CREATE FUNCTION outbox_delivery_confirmed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('outboxd.barring', true) IS DISTINCT FROM NEW.event_id::text THEN
        PERFORM outbox_delivery_ended(NEW.event_id);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- The trigger outbox_delivery_confirmed fires only for UUIDs of version 8, which are the IDs of deliveries.
CREATE TRIGGER outbox_delivery_confirmed AFTER INSERT ON inbox
    FOR EACH ROW WHEN (get_byte(uuid_send(NEW.event_id), 6) >> 4 = 8) EXECUTE FUNCTION outbox_delivery_confirmed();

-- +goose Down
DROP TRIGGER outbox_delivery_confirmed ON inbox;
DROP FUNCTION outbox_delivery_confirmed;
DROP FUNCTION outbox_await;
DROP FUNCTION outbox_delivery_ended;
DROP FUNCTION outbox_deliveries_over;
DROP TABLE outbox_replays;
DROP TABLE outbox_awaited;
DROP TABLE outbox_former_subscriptions;
DROP TABLE outbox_subscriptions;
DROP FUNCTION outbox_subscriptions_changed;
