-- What happened to events that did not simply arrive, and who did what to dead
-- letters. Nothing is written here for an event that is delivered and confirmed
-- at the first attempt.

-- +goose Up

-- One row for each refusal by Redis (refused), each failed attempt of a handler
-- (failed), each death (died), and each time that an event was sent again
-- (replayed by a person, redriven after Redis had lost it) or given up
-- (discarded). unknown is a task of an event that does not exist, because
-- PostgreSQL went back to before it. No foreign key: the event moves from table to table.
CREATE TABLE outbox_journal (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(), -- for logical replication, which has to name a row
    event_id   uuid        NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    stage      text        NOT NULL CONSTRAINT outbox_journal_stage_is_known CHECK (stage IN ('relay', 'worker', 'person')),
    entry      text        NOT NULL CONSTRAINT outbox_journal_entry_is_known
               CHECK (entry IN ('refused', 'failed', 'died', 'replayed', 'discarded', 'redriven', 'unknown')),
    generation integer     NOT NULL,
    attempt    integer     NOT NULL DEFAULT 0, -- of this generation and stage, from 1 on; 0: none
    detail     text        NOT NULL DEFAULT ''
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000
);

CREATE INDEX outbox_journal_event ON outbox_journal (event_id, at);

-- For trimming by age.
CREATE INDEX outbox_journal_at ON outbox_journal (at);

-- What people did, one row for each command. events grows with each batch, in
-- the transaction of the batch.
CREATE TABLE outbox_actions (
    id     uuid        PRIMARY KEY DEFAULT outbox_new_id(),
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor  text        NOT NULL,
    action text        NOT NULL CONSTRAINT outbox_actions_action_is_known CHECK (action IN ('replay', 'discard', 'redrive')),
    filter jsonb       NOT NULL,
    reason text        NOT NULL DEFAULT '',
    events bigint      NOT NULL DEFAULT 0
);

CREATE INDEX outbox_actions_at ON outbox_actions (at);

-- The order in which dead letters are listed, page by page.
DROP INDEX outbox_dead_died_at;
CREATE INDEX outbox_dead_place ON outbox_dead (died_at, id);

-- +goose Down
DROP INDEX outbox_dead_place;
CREATE INDEX outbox_dead_died_at ON outbox_dead (died_at);
DROP TABLE outbox_actions;
DROP TABLE outbox_journal;
