-- What became of events: the tables for each outcome, and the inbox.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_sent holds the events that were handed to Redis, with every column that is
-- needed to send them again if Redis forgets. It has a partition per day, so that
-- old days are dropped instead of deleted. The leader makes and drops partitions.
-- The default partition takes the rows of a day without a partition, so that no
-- insert fails for want of one.
CREATE TABLE outbox_sent (
    LIKE outbox,
    sent_at timestamptz NOT NULL DEFAULT now(),

    -- A replayed event has one row for each generation. With sent_at the pair is
    -- unique. Publications of logical replication need a key to publish
    -- deletions; partitions inherit this one.
    CONSTRAINT outbox_sent_pkey PRIMARY KEY (id, sent_at)
) PARTITION BY RANGE (sent_at);

CREATE TABLE outbox_sent_default PARTITION OF outbox_sent DEFAULT;

-- Dead letters: events that the relay gave up, and events whose task the worker
-- gave up.
CREATE TABLE outbox_dead (
    LIKE outbox,
    stage   text        NOT NULL CONSTRAINT outbox_dead_stage_is_known CHECK (stage IN ('relay', 'worker')),
    error   text        NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
);

-- The order in which dead letters are listed, page by page.
CREATE INDEX outbox_dead_place ON outbox_dead (died_at, id);

-- Dead letters with the same cause form a group, on the page and in commands. This
-- index finds a small group among a million other dead letters. The error has # in
-- place of each UUID and each number, as in deadletters.errorFormSQL. It is cut,
-- because a row of a B-tree may have at most a third of a page.
CREATE INDEX outbox_dead_group ON outbox_dead (event_type,
    (left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)), died_at, id);

-- Unique events that Redis refused, because another task of the same type, payload
-- and queue held the lock. They are in no other table, so nothing sends them
-- again: the other task takes their place.
CREATE TABLE outbox_suppressed (
    LIKE outbox,
    holder        text        NOT NULL, -- the ID of the other task
    suppressed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id)
);

-- For trimming by age.
CREATE INDEX outbox_suppressed_at ON outbox_suppressed (suppressed_at);

-- Events that were cancelled before they took effect; see cancel. Each has a row in
-- inbox too. So its task has no effect if it is still in Redis.
CREATE TABLE outbox_cancelled (
    LIKE outbox,
    was          text        NOT NULL, -- its state before: pending, held or in flight
    detail       text        NOT NULL, -- who cancelled it, and why
    cancelled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at   timestamptz, -- when its task was certainly not in Redis any more; null: not yet
    PRIMARY KEY (id)
);

-- For trimming by age, and to find events whose task may still be in Redis.
CREATE INDEX outbox_cancelled_at ON outbox_cancelled (cancelled_at);
CREATE INDEX outbox_cancelled_tasks ON outbox_cancelled (id) WHERE removed_at IS NULL;

-- Void tasks that may still be in Redis. Their events were erased, discarded, or
-- moved to another time after a relay may have handed them over. The leader deletes
-- the tasks of this generation and of earlier ones; later generations count. One row
-- for an event.
CREATE TABLE outbox_void_tasks (
    event_id   uuid        PRIMARY KEY,
    queue      text        NOT NULL,
    generation integer     NOT NULL,
    -- No task of the event may take effect before this time, whatever its
    -- generation; see reschedule.
    until      timestamptz NOT NULL DEFAULT '-infinity',
    noted_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz -- when no void task of it was left in Redis
);

-- For tasks that are still to be deleted, and for trimming.
CREATE INDEX outbox_void_tasks_left ON outbox_void_tasks (event_id) WHERE removed_at IS NULL;
CREATE INDEX outbox_void_tasks_over ON outbox_void_tasks (until) WHERE removed_at IS NOT NULL;

-- Events that are not confirmed and have no task in Redis, although Redis has lost
-- nothing else: their task was deleted, or evicted. The row stays until the event
-- is confirmed or ends in another way, or its task is in Redis again.
CREATE TABLE outbox_missing (
    event_id   uuid        PRIMARY KEY,
    event_type text        NOT NULL,
    queue      text        NOT NULL,
    generation integer     NOT NULL,
    sent_at    timestamptz NOT NULL,
    task       text        NOT NULL, -- what Redis had in its place
    found_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- for the first time
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(), -- for the last time
    resends    integer     NOT NULL DEFAULT 0,
    resent_at  timestamptz
);

-- One row per event whose effect is committed, written by the transaction of the
-- effect, and one per cancelled event. It outlives the event's row in outbox_sent.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    processed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX inbox_processed_at ON inbox (processed_at);

-- confirm is for consumers of other services. They call it in the transaction of
-- the effect. It returns true the first time. It returns false if the event took
-- effect before: the effect must then not happen again. A second call waits until
-- the transaction of the first has ended. SECURITY DEFINER: a consumer needs
-- EXECUTE and no right on inbox.
-- +goose StatementBegin
CREATE FUNCTION confirm(event_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
-- +goose StatementEnd

-- confirm_many is confirm for several events at once, for consumers that let them take
-- effect in one transaction. It returns a row for each of them, in no order:
--
--   first      it takes effect now: confirm would return true
--   confirmed  it took effect before
--   cancelled  it was taken back
--   unknown    it does not exist, because this database went back to before it
--   early      its key has another event's turn; confirm would fail with OB001. Give
--              the task back; the other events are not concerned
--
-- The rows are written in the order of keys and then of IDs, so that neither two
-- callers nor the turns that are passed on when the transaction commits wait for
-- one another in a circle: outbox_advance takes keys in the same order.
-- +goose StatementBegin
CREATE FUNCTION confirm_many(event_ids uuid[]) RETURNS TABLE (event_id uuid, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    given uuid[];
    firsts uuid[];
    early uuid[] := '{}';
    one uuid;
BEGIN
    SELECT array_agg(g.id ORDER BY t.ordering_key, g.id) INTO given
    FROM (SELECT DISTINCT id FROM unnest(event_ids) AS id WHERE id IS NOT NULL) AS g LEFT JOIN outbox_turns t ON t.event_id = g.id;
    BEGIN
        WITH added AS (INSERT INTO inbox (event_id) SELECT unnest(given) ON CONFLICT DO NOTHING RETURNING event_id)
        SELECT array_agg(event_id) INTO firsts FROM added;
    EXCEPTION WHEN SQLSTATE 'OB001' THEN
        firsts := '{}';
        FOREACH one IN ARRAY given LOOP
            BEGIN
                INSERT INTO inbox (event_id) VALUES (one) ON CONFLICT DO NOTHING;
                IF FOUND THEN
                    firsts := firsts || one;
                END IF;
            EXCEPTION WHEN SQLSTATE 'OB001' THEN
                early := early || one;
            END;
        END LOOP;
    END;
    IF cardinality(firsts) = cardinality(given) THEN
        RETURN QUERY SELECT id, 'first' FROM unnest(given) AS id;
        RETURN;
    END IF;
    RETURN QUERY SELECT g.id, CASE
            WHEN f.id IS NOT NULL THEN 'first'
            WHEN e.id IS NOT NULL THEN 'early'
            WHEN EXISTS (SELECT FROM outbox_cancelled c WHERE c.id = g.id) THEN 'cancelled'
            WHEN EXISTS (SELECT FROM inbox i WHERE i.event_id = g.id) THEN 'confirmed'
            ELSE 'unknown'
        END
        FROM unnest(given) AS g(id) LEFT JOIN unnest(firsts) AS f(id) USING (id) LEFT JOIN unnest(early) AS e(id) USING (id);
END $$;
-- +goose StatementEnd

-- outbox_is_confirmed says whether an event took effect. A plain look into the
-- inbox would not see a transaction that is confirming it at this moment. So it
-- inserts the same row, which waits for that transaction, and undoes the insert.
-- The undo has a SQLSTATE of its own: OB001 is that of an event that may not take
-- effect yet, and its callers must hear of it.
-- SECURITY DEFINER: its callers have no right to write confirmations.
-- +goose StatementBegin
CREATE FUNCTION outbox_is_confirmed(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO inbox (event_id) VALUES (event);
    RAISE SQLSTATE 'OB002';
EXCEPTION
    WHEN unique_violation THEN RETURN true;
    WHEN SQLSTATE 'OB002' THEN RETURN false;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_is_confirmed;
DROP FUNCTION confirm_many;
DROP FUNCTION confirm;
DROP TABLE inbox;
DROP TABLE outbox_missing;
DROP TABLE outbox_void_tasks;
DROP TABLE outbox_cancelled;
DROP TABLE outbox_suppressed;
DROP TABLE outbox_dead;
DROP TABLE outbox_sent;
