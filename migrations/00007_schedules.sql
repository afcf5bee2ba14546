-- A schedule emits events again and again: unless the schedule is paused, the leader emits an event at each tick. The
-- same transaction sets the schedule's next tick. The column missed says what happens to ticks that came while no
-- leader ran.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The event's columns in outbox_schedules have the same CHECK as in outbox, except for the size of the payload,
-- which outboxd checks itself (setup.CheckSizes). So an invalid event is refused when its schedule is applied, and
-- not at the first tick.
CREATE TABLE outbox_schedules (
    -- The IDs of the schedule's events are computed from the schedule's ID. A new schedule with the name of a removed
    -- one gets another ID, so that the events of the two are not confused.
    id                uuid        PRIMARY KEY DEFAULT outbox_new_id(),
    name              text        NOT NULL UNIQUE,
    cron              text        NOT NULL,
    time_zone         text        NOT NULL,
    missed            text        NOT NULL CONSTRAINT outbox_schedules_missed_is_known CHECK (missed IN ('skip', 'once', 'all')),
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}',
    queue             text        NOT NULL DEFAULT 'default',
    max_retry         integer,
    timeout_seconds   integer,
    retention_seconds integer,
    unique_seconds    integer,
    ordering_key      text,
    -- The time of the next tick. A leader that emits the tick changes this column, but only if it still has the
    -- value that the leader has read. Because of this condition, even two leaders emit a tick only once.
    next_at           timestamptz NOT NULL,
    last_at           timestamptz, -- the last tick that was emitted or left out
    emitted           bigint      NOT NULL DEFAULT 0,
    left_out          bigint      NOT NULL DEFAULT 0, -- missed ticks without an event
    failed_at         timestamptz, -- since when its ticks cannot be emitted
    error             text        NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL DEFAULT now(),
    paused_at         timestamptz,
    paused_by         text        NOT NULL DEFAULT '',
    pause_reason      text        NOT NULL DEFAULT '',

    CONSTRAINT outbox_schedules_within_bounds CHECK (outbox_within_bounds(
        id, event_type, headers, queue, max_retry, timeout_seconds, NULL, retention_seconds,
        unique_seconds, next_at, 0, 0, NULL, created_at, ordering_key,
        CASE WHEN ordering_key IS NOT NULL THEN 1::bigint END, NULL, NULL))
);

-- outbox_tick_id returns the ID for the event of a schedule's tick. If this database went back to an earlier state
-- and a tick is emitted again, the event has the same ID. The ID is a UUID of version 7 (RFC 9562) with the time of
-- the tick; a hash of schedule and tick replaces the random bits.
-- +goose StatementBegin
CREATE FUNCTION outbox_tick_id(schedule uuid, tick timestamptz) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    millis bigint := floor(extract(epoch FROM tick) * 1000);
    rest bytea := substr(sha256(uuid_send(schedule) || int8send(millis)), 1, 10);
BEGIN
    rest := set_byte(set_byte(rest, 0, get_byte(rest, 0) & 15 | 112), 2, get_byte(rest, 2) & 63 | 128);
    RETURN encode(substr(int8send(millis), 3) || rest, 'hex')::uuid;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_tick_id;
DROP TABLE outbox_schedules;
