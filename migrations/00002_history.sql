-- The outcomes of events: sent, dead, suppressed, cancelled, missing, processed.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_sent holds what was handed to Redis, with every column needed to send
-- it again should Redis forget. Partitioned by day, so that old days are
-- dropped rather than deleted; the leader keeps the partitions.
-- The default partition catches rows that have no partition: no insert ever fails
-- for want of a partition.
CREATE TABLE outbox_sent (
    LIKE outbox,
    sent_at timestamptz NOT NULL DEFAULT now(),

    -- An event that was replayed is here once for each generation. sent_at makes
    -- it a key, which publications of logical replication need to publish
    -- deletions; partitions get it from here.
    CONSTRAINT outbox_sent_pkey PRIMARY KEY (id, sent_at)
) PARTITION BY RANGE (sent_at);

CREATE TABLE outbox_sent_default PARTITION OF outbox_sent DEFAULT;

-- Dead letters, from both ends: events that the relay gave up, and tasks that
-- the worker gave up.
CREATE TABLE outbox_dead (
    LIKE outbox,
    stage   text        NOT NULL CONSTRAINT outbox_dead_stage_is_known CHECK (stage IN ('relay', 'worker')),
    error   text        NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
);

-- The order in which dead letters are listed, page by page.
CREATE INDEX outbox_dead_place ON outbox_dead (died_at, id);

-- Dead letters of one cause are one group, on the page and for what people do
-- about them. The index finds a small group at once among a million of others.
-- The error has # for each UUID and each number, as in deadletters.errorFormSQL.
-- Its length keeps the index's rows well below the third of a page that B-trees take.
CREATE INDEX outbox_dead_group ON outbox_dead (event_type,
    (left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)), died_at, id);

-- Unique events that Redis did not take, because another task of the same type,
-- payload and queue held their lock. They are in no other table, so that nobody
-- sends them again: the other task stands for them.
CREATE TABLE outbox_suppressed (
    LIKE outbox,
    holder        text        NOT NULL, -- the ID of the other task
    suppressed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id)
);

-- For trimming by age.
CREATE INDEX outbox_suppressed_at ON outbox_suppressed (suppressed_at);

-- Events that were taken back before they took effect; see cancel. Each has a row
-- in inbox too, by which a task that is still in Redis has no effect.
CREATE TABLE outbox_cancelled (
    LIKE outbox,
    was          text        NOT NULL, -- the state in which it was: pending, held or in flight
    detail       text        NOT NULL, -- who took it back, and why
    cancelled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at   timestamptz, -- when no task of it was left in Redis
    PRIMARY KEY (id)
);

-- For trimming by age, and for those whose task may still be in Redis.
CREATE INDEX outbox_cancelled_at ON outbox_cancelled (cancelled_at);
CREATE INDEX outbox_cancelled_tasks ON outbox_cancelled (id) WHERE removed_at IS NULL;

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

-- One row per event whose effect has been committed, written by the same
-- transaction, and per event that was cancelled. It outlives the event's row in outbox_sent.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    processed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX inbox_processed_at ON inbox (processed_at);

-- confirm is for consumers that are not outboxd's: called in the
-- transaction of the effect, it returns true the first time, and false if the
-- event took effect before, in which case the effect must not happen again. A
-- second call waits until the transaction of the first has ended.
-- SECURITY DEFINER: a consumer needs EXECUTE and no right on inbox.
-- +goose StatementBegin
CREATE FUNCTION confirm(event_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
-- +goose StatementEnd

-- outbox_is_confirmed says whether an event took effect. It waits for a
-- transaction that is just confirming it, which a look into the inbox would not
-- see, by trying the same and undoing it.
-- SECURITY DEFINER: who asks has no business writing confirmations.
-- +goose StatementBegin
CREATE FUNCTION outbox_is_confirmed(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO inbox (event_id) VALUES (event);
    RAISE SQLSTATE 'OB001';
EXCEPTION
    WHEN unique_violation THEN RETURN true;
    WHEN SQLSTATE 'OB001' THEN RETURN false;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_is_confirmed;
DROP FUNCTION confirm;
DROP TABLE inbox;
DROP TABLE outbox_missing;
DROP TABLE outbox_cancelled;
DROP TABLE outbox_suppressed;
DROP TABLE outbox_dead;
DROP TABLE outbox_sent;
