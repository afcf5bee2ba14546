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

-- +goose Down
DROP TABLE outbox_queue_identity;
