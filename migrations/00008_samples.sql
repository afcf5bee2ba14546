-- What the dashboard draws its charts from. One row every ten seconds, written
-- by the relay that keeps house, and kept for 25 hours: 9,000 rows, about 1 MB,
-- which is little enough to need no thinning.

-- +goose Up
CREATE TABLE outbox_samples (
    at             timestamptz PRIMARY KEY,
    relay          uuid        NOT NULL, -- who measured, and so keeps house
    seconds        real        NOT NULL, -- that the next four count; 0 and none where there was no sample in the minute before
    emitted        bigint      NOT NULL,
    enqueued       bigint      NOT NULL,
    confirmed      bigint      NOT NULL,
    died           bigint      NOT NULL,
    pending        bigint      NOT NULL, -- how many there were, with the limits of domain.Backlog
    held           bigint      NOT NULL,
    dead           bigint      NOT NULL,
    oldest_due     real        NOT NULL, -- seconds that the oldest due event has been due; 0: none
    delay_p50      real,                 -- seconds from an event's ID to its handler, of those that were confirmed; null: none
    delay_p99      real,
    emitted_total  bigint      NOT NULL, -- the counters that emitted and enqueued are differences of
    enqueued_total bigint      NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- What the relay that keeps house fails at, until it works again, for everybody
-- who looks from elsewhere.
CREATE TABLE outbox_failing (
    work  text        PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    error text        NOT NULL
);

-- +goose Down
DROP TABLE outbox_failing;
DROP TABLE outbox_samples;
