-- Schedules: events that come again and again. The leader emits an event at each tick,
-- in the transaction that moves the schedule on to its next one.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The columns of the event are those of outbox: what could not be delivered is refused
-- when the schedule is applied, by the same bounds.
CREATE TABLE outbox_schedules (
    -- Part of the IDs of its events. A name that is used again has another one, so that
    -- its events are not taken for those of the former schedule.
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
    -- The tick that comes next. A leader that emits it changes this, on the condition
    -- that it is unchanged. So two leaders emit it once.
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

-- outbox_tick_id returns the ID of the event of a schedule's tick. It is the same
-- whoever computes it, so that a tick which is emitted again, because this database went
-- back, is the same event. Version 7 of RFC 9562, with the tick's time and, in place
-- of random bits, a hash of both: it is an event like any other.
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
