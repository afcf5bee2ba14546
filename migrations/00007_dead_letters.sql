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

-- outbox_set_aside makes a dead letter of one row that cannot be relayed, and
-- returns its event; NULL if not even that is possible, and the row is then where
-- it was. Such a row came past the outbox's checks: from a restore, by a trigger
-- or a constraint that was switched off, or from a newer version. What a dead
-- letter can hold is kept as it is; times go to the nearest that the outbox takes,
-- which is also the account's day, and an event without an ID gets one. It calls nothing that the row's values could
-- make fail; where one cannot even be read, the event is kept without what is large.
-- The caller sets outboxd.moving, and passes on the event's turn.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_set_aside(place regclass, row_at tid, cause text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = %1$I, pg_temp AS $$
DECLARE
    event uuid;
    moving text;
    -- The rights are on the history as a whole, not on its partitions.
    whole regclass := CASE WHEN place IN ('outbox'::regclass, 'outbox_held'::regclass) THEN place ELSE 'outbox_sent'::regclass END;
BEGIN
    moving := $move$
        WITH gone AS (
            DELETE FROM %%s WHERE tableoid = $3 AND ctid = $1 RETURNING *
        ), cleaned AS (
            SELECT coalesce(nullif(id, '00000000-0000-0000-0000-000000000000'), outbox_new_id()) AS id, coalesce(event_type, '') AS event_type, coalesce(queue, 'default') AS queue,
                   least(greatest(created_at, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 23:59:59.999999+00') AS created_at,
                   least(greatest(available_at, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 23:59:59.999999+00') AS available_at,
                   least(greatest(attempts, 0), 1000000000) AS attempts, least(greatest(generation, 0), 1000000000) AS generation,
                   ordering_key, ordering_position, %%s
            FROM gone
        ), turned AS ( -- an ID that was changed keeps its key's turn
            UPDATE outbox_turns t SET event_id = c.id FROM cleaned c
            WHERE t.ordering_key = c.ordering_key AND t.event_id = '00000000-0000-0000-0000-000000000000'
        ), dead AS (
            INSERT INTO outbox_dead AS d (id, event_type, queue, created_at, available_at, attempts, generation, ordering_key, ordering_position,
                payload, headers, last_error, max_retry, timeout_seconds, retention_seconds, unique_seconds, deadline, stage, error, died_at)
            SELECT cleaned.*, 'relay', $2, clock_timestamp() FROM cleaned
            ON CONFLICT (id) DO UPDATE SET generation = greatest(d.generation, excluded.generation), stage = excluded.stage,
                error = excluded.error, died_at = excluded.died_at
            RETURNING id, generation, attempts, xmax::text <> '0' AS repeats
        ), absorbed AS (
            INSERT INTO outbox_entries (event_type, created_at, repeated)
            SELECT c.event_type, c.created_at, 1 FROM cleaned c JOIN dead USING (id) WHERE dead.repeats
        ), noted AS (
            INSERT INTO outbox_journal (event_id, stage, entry, generation, attempt, detail)
            SELECT id, 'relay', 'died', generation, attempts, $2 FROM dead
        )
        SELECT id FROM dead$move$;
    BEGIN
        EXECUTE format(moving, whole, $all$
            coalesce(payload, ''),
            CASE WHEN jsonb_typeof(headers) = 'object'
                THEN coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(headers) WHERE jsonb_typeof(value) = 'string'), '{}')
                ELSE '{}' END,
            left(last_error, 2000), CASE WHEN max_retry >= 0 THEN max_retry END, CASE WHEN timeout_seconds > 0 THEN timeout_seconds END,
            CASE WHEN retention_seconds >= 0 THEN retention_seconds END, CASE WHEN unique_seconds > 0 THEN unique_seconds END,
            CASE WHEN deadline >= timestamptz '1971-01-01 00:00:00+00' AND deadline < timestamptz '10000-01-01 00:00:00+00' THEN deadline END
            $all$) INTO event USING row_at, cause, place;
        RETURN event;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR internal_error OR raise_exception THEN
        NULL;
    END;
    EXECUTE format(moving, whole, $little$
        ''::bytea, '{}'::jsonb, NULL::text, NULL::integer, NULL::integer, NULL::integer, NULL::integer, NULL::timestamptz
        $little$) INTO event USING row_at, cause || ' (kept without its payload, headers and options: they cannot be read)', place;
    RETURN event;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR internal_error OR raise_exception THEN
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_set_aside;
DROP INDEX outbox_dead_place;
CREATE INDEX outbox_dead_died_at ON outbox_dead (died_at);
DROP TABLE outbox_actions;
DROP TABLE outbox_journal;
