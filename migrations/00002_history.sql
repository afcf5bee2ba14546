-- The tables of events that have left outbox, and the inbox.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_sent, the history, holds the events that were handed to Redis, if a history is kept. It also holds events
-- that need no task in Redis: events that have only deliveries, and events that outbox_end_run confirmed. outbox_sent
-- has all columns of outbox, so that an event can be sent again if Redis loses its task. The leader creates one
-- partition for each UTC day, and drops old ones instead of deleting row by row. The default partition takes rows of
-- a day that has no partition; the leader deletes these row by row.
CREATE TABLE outbox_sent (
    LIKE outbox,
    sent_at timestamptz NOT NULL DEFAULT now(),

    -- An event that was sent again may have several rows, so only id and sent_at together are unique. Publications of
    -- logical replication need a key to publish deletions. Partitions inherit this primary key.
    CONSTRAINT outbox_sent_pkey PRIMARY KEY (id, sent_at)
) PARTITION BY RANGE (sent_at);

CREATE TABLE outbox_sent_default PARTITION OF outbox_sent DEFAULT;

-- outbox_dead has the dead letters: events that the relay gave up, and events whose task a worker or a person gave
-- up. The column stage says whether the relay, a worker or a person gave the event up.
CREATE TABLE outbox_dead (
    LIKE outbox,
    stage   text        NOT NULL CONSTRAINT outbox_dead_stage_is_known CHECK (stage IN ('relay', 'worker', 'person')),
    error   text        NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
);

-- This index is for listing dead letters page by page, in the order in which they died.
CREATE INDEX outbox_dead_place ON outbox_dead (died_at, id);

-- Web pages and commands group dead letters of the same type and cause. This index finds a small group among a
-- million other dead letters. In the indexed error each UUID and each number is replaced by #, as in
-- deadletters.errorFormSQL. The error is cut, because an entry of a B-tree may have at most a third of a page.
CREATE INDEX outbox_dead_group ON outbox_dead (event_type,
    (left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)), died_at, id);

-- outbox_payload_field returns the value at a path of a JSON payload, as text: a string without its quotation marks,
-- any other value as it is written. The function returns NULL if there is no value at the path, if the value is the
-- null of JSON, or if PostgreSQL cannot read the payload as JSON. outbox_payload_field is not PARALLEL SAFE, because
-- a block with EXCEPTION is a subtransaction, and a subtransaction cannot begin in a parallel query.
-- +goose StatementBegin
CREATE FUNCTION outbox_payload_field(payload bytea, path text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::json #>> path;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- outbox_suppressed has unique events that Asynq refused, because another task of the same type, payload and queue
-- held the unique lock. A suppressed event has left outbox, so nothing sends it again: the effect of the other task
-- counts in its place.
CREATE TABLE outbox_suppressed (
    LIKE outbox,
    holder        text        NOT NULL, -- the ID of the other task
    suppressed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id)
);

-- This index is for deleting old rows.
CREATE INDEX outbox_suppressed_at ON outbox_suppressed (suppressed_at);

-- outbox_cancelled has events that were cancelled before they took effect; see the function cancel. The inbox has a
-- row of each cancelled event too. So if the task of a cancelled event is still in Redis, the task has no effect.
CREATE TABLE outbox_cancelled (
    LIKE outbox,
    was          text        NOT NULL, -- its state before: pending, held or in flight
    detail       text        NOT NULL, -- who cancelled it, and why
    cancelled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at   timestamptz, -- when its task was certainly not in Redis any more; null: not yet
    PRIMARY KEY (id)
);

-- These indexes are for deleting old rows, and for finding cancelled events whose task may still be in Redis.
CREATE INDEX outbox_cancelled_at ON outbox_cancelled (cancelled_at);
CREATE INDEX outbox_cancelled_tasks ON outbox_cancelled (id) WHERE removed_at IS NULL;

-- outbox_void_tasks has void tasks: they must have no effect, and may still be in Redis while removed_at is NULL.
-- The events of void tasks were erased, discarded, or moved to another time after a relay may have handed them over.
-- The tasks of the stored generation and of earlier generations are void, and the leader deletes them. Tasks of
-- later generations are valid. There is at most one row for each event.
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

-- These indexes are for finding tasks that the leader still has to delete, and for deleting old rows.
CREATE INDEX outbox_void_tasks_left ON outbox_void_tasks (event_id) WHERE removed_at IS NULL;
CREATE INDEX outbox_void_tasks_over ON outbox_void_tasks (until) WHERE removed_at IS NOT NULL;

-- outbox_missing has missing events: they are not confirmed and no worker will run their tasks, although Redis has
-- not lost all data. For example, somebody deleted the task, or Redis evicted it. A row stays until its event is
-- confirmed or ends in another way, or until the event's task is in Redis again.
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

-- The inbox has one row for each confirmed event. If the event's effect is in this database, the transaction of the
-- effect writes the inbox row, so the effect is committed exactly once. The inbox also has one row for each cancelled
-- event. The leader deletes the row of a confirmed event after relay.inbox_retention, but not while a table of events
-- still has the event. It deletes the row of a cancelled event together with the event.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    processed_at timestamptz NOT NULL DEFAULT now(), -- when the transaction began; see began_at
    -- If the transaction lasted longer than 5 s, when it began. Then processed_at is when it was committed; see
    -- outbox_confirmed.
    began_at     timestamptz
);

CREATE INDEX inbox_processed_at ON inbox (processed_at);

-- confirm is for consumers in other services. Consumers call confirm in the transaction of the event's effect. confirm
-- returns true if the event takes effect in this transaction. confirm returns false if the event took effect before,
-- was cancelled, or no longer exists because this database went back to a state from before the event. The consumer
-- must then skip the event's effect. confirm does not find out in general whether an event exists: it returns true for
-- any other new UUID. If the event may not take effect yet, confirm fails with OB001 (see outbox_confirming), or the
-- commit does (see outbox_confirmed). If two transactions call confirm for the same event, the second waits until the
-- first has ended. SECURITY DEFINER: a consumer needs EXECUTE and no right on inbox.
-- +goose StatementBegin
CREATE FUNCTION confirm(event_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
-- +goose StatementEnd

-- confirm_many is confirm for several events, for consumers that handle them in one transaction. confirm_many returns
-- one row for each distinct event that is not NULL, in no particular order:
--
--   first      it takes effect now: confirm would return true
--   confirmed  it took effect before
--   cancelled  it was cancelled
--   unknown    it does not exist, because this database went back to a state from before the event
--   early      it may not take effect yet: another event of its ordering key has the turn, or it was moved to a
--              later time. confirm would fail with OB001. Return its task to the queue; the other events are not
--              affected
--
-- confirm_many writes the rows in the order of ordering keys, then of IDs. When the transaction commits, the turns are
-- passed on in the same order, and outbox_advance also processes keys in that order. So transactions that call
-- confirm_many once do not deadlock with one another.
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

-- outbox_is_confirmed says whether an event took effect or was cancelled. A SELECT from inbox would not see a
-- transaction that is confirming the event at this moment. So the function inserts the same row, which waits for
-- that transaction, and rolls the insert back. The rollback has its own SQLSTATE, because OB001 means that an event
-- may not take effect yet, and the callers must get that error. SECURITY DEFINER: the relay's role may have no
-- right to insert into inbox.
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
DROP FUNCTION outbox_payload_field;
DROP TABLE outbox_dead;
DROP TABLE outbox_sent;
