-- What became of events: sent, dead, processed.

-- +goose Up

-- outbox_sent holds what was handed to Redis, with every column needed to send
-- it again should Redis forget. Partitioned by day, so that old days are
-- dropped rather than deleted; the relay's housekeeper keeps the partitions.
-- The default partition catches rows while nobody does: no insert ever fails
-- for want of a partition.
CREATE TABLE outbox_sent (
    id                uuid        NOT NULL,
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL,
    queue             text        NOT NULL,
    max_retry         integer,
    timeout_seconds   integer,
    deadline          timestamptz,
    retention_seconds integer,
    unique_seconds    integer,
    available_at      timestamptz NOT NULL,
    attempts          integer     NOT NULL,
    generation        integer     NOT NULL,
    last_error        text,
    created_at        timestamptz NOT NULL,
    sent_at           timestamptz NOT NULL DEFAULT now(),

    -- An event that was replayed is here once for each generation. sent_at makes
    -- it a key, which publications of logical replication need to publish
    -- deletions; partitions get it from here.
    CONSTRAINT outbox_sent_pkey PRIMARY KEY (id, sent_at)
) PARTITION BY RANGE (sent_at);

CREATE TABLE outbox_sent_default PARTITION OF outbox_sent DEFAULT;

-- Dead letters, from both ends: events that the relay gave up, and tasks that
-- the worker gave up.
CREATE TABLE outbox_dead (
    id                uuid        PRIMARY KEY,
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL,
    queue             text        NOT NULL,
    max_retry         integer,
    timeout_seconds   integer,
    deadline          timestamptz,
    retention_seconds integer,
    unique_seconds    integer,
    available_at      timestamptz NOT NULL,
    attempts          integer     NOT NULL,
    generation        integer     NOT NULL,
    last_error        text,
    created_at        timestamptz NOT NULL,
    stage             text        NOT NULL CONSTRAINT outbox_dead_stage_is_known CHECK (stage IN ('relay', 'worker')),
    error             text        NOT NULL,
    died_at           timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_dead_died_at ON outbox_dead (died_at);

-- One row per event whose effect has been committed, written by the same
-- transaction. It outlives the event's row in outbox_sent.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    processed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX inbox_processed_at ON inbox (processed_at);

-- +goose Down
DROP TABLE inbox;
DROP TABLE outbox_dead;
DROP TABLE outbox_sent;
