-- By what the queue is recognised, so that one that has lost its data is
-- noticed, also when that happened while no relay was running.

-- +goose Up

-- One row. name is part of the name of the canary key in Redis, which databases
-- that share a Redis must not share. Empty fields: not known.
CREATE TABLE outbox_queue_identity (
    only_row       boolean     PRIMARY KEY DEFAULT true CONSTRAINT outbox_queue_identity_is_one_row CHECK (only_row),
    name           text        NOT NULL DEFAULT gen_random_uuid(),
    run_id         text        NOT NULL DEFAULT '',
    replication_id text        NOT NULL DEFAULT '',
    canary         text        NOT NULL DEFAULT '',
    seen_at        timestamptz,
    healed_at      timestamptz
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

-- +goose Down
DROP TABLE outbox_missing;
DROP TABLE outbox_queue_identity;
