-- The record: the account (counts of all events), the journal (what happened to single events), the actions of
-- people, the samples for the charts, and the marks with which outboxd notices that Redis or this database lost data.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- outbox_entries has the entries of the account. Transactions append entries, and the leader adds the entries up in
-- outbox_account. There is no shared counter, because all producers would wait for one another to update the counter.
-- An entry without a number stands for one emitted event. An entry with a number counts events that were handed to
-- Redis while no history was kept (unrecorded), events that repeated another event and were absorbed (repeated), or
-- deliveries. One entry of each statement that writes events wakes the relays that sleep; see outbox_wake.
CREATE TABLE outbox_entries (
    event_type text        NOT NULL,
    created_at timestamptz NOT NULL,
    unrecorded integer,
    repeated   integer,
    deliveries integer,
    wakes      boolean
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- outbox_entries has no key, so logical replication must identify a row by all its columns. Inserts become no slower
-- by that. Deletions are slower only if wal_level is logical.
ALTER TABLE outbox_entries REPLICA IDENTITY FULL;

-- outbox_account has the account: how many events were emitted and how many left in which way, by event type and by
-- the UTC day on which the events were created. The outcome of an event whose row still exists is counted where that
-- row is.
CREATE TABLE outbox_account (
    day         date   NOT NULL,
    event_type  text   NOT NULL,
    emitted     bigint NOT NULL DEFAULT 0,
    deliveries  bigint NOT NULL DEFAULT 0, -- made for subscriptions; each ends as an event does
    confirmed   bigint NOT NULL DEFAULT 0, -- took effect, and left the history
    unconfirmed bigint NOT NULL DEFAULT 0, -- left the history without a confirmation
    unrecorded  bigint NOT NULL DEFAULT 0, -- handed to Redis while no history was kept
    discarded   bigint NOT NULL DEFAULT 0, -- by a person
    repeated    bigint NOT NULL DEFAULT 0, -- written again under the ID of another event, and absorbed by it
    suppressed  bigint NOT NULL DEFAULT 0, -- unique, and the task of another event took their place; no longer kept
    cancelled   bigint NOT NULL DEFAULT 0, -- cancelled before they took effect; no longer kept
    PRIMARY KEY (day, event_type)
) WITH (fillfactor = 50);

-- Fill the account with the events and deliveries of these tables. DISTINCT, because a replayed event may be in
-- outbox_sent more than once.
INSERT INTO outbox_account (day, event_type, emitted, deliveries)
SELECT (created_at AT TIME ZONE 'UTC')::date, event_type,
       count(DISTINCT id) FILTER (WHERE subscription IS NULL), count(DISTINCT id) FILTER (WHERE subscription IS NOT NULL)
FROM (
    SELECT id, event_type, created_at, subscription FROM outbox
    UNION ALL SELECT id, event_type, created_at, subscription FROM outbox_held
    UNION ALL SELECT id, event_type, created_at, subscription FROM outbox_sent
    UNION ALL SELECT id, event_type, created_at, subscription FROM outbox_dead
    UNION ALL SELECT id, event_type, created_at, subscription FROM outbox_suppressed
    UNION ALL SELECT id, event_type, created_at, subscription FROM outbox_cancelled
) AS present
GROUP BY 1, 2;

-- outbox_written appends entries for the events of a statement to the account, and marks one entry if a relay sleeps,
-- so that the commit wakes the relay. If the setting outboxd.moving is on, the events only return to outbox, for
-- example after a refusal. The trigger then appends no entries, and notifies a sleeping relay itself, unless
-- outboxd.wake is off.
--
-- The trigger runs for every statement that inserts into outbox. So the trigger sets no search_path, which
-- PostgreSQL would set and reset on every call, and writes the schema before every name. outbox_written does
-- everything in one statement, because starting a statement costs more than the work itself. Grouping the rows
-- here would cost more than it saves. Only one row of a statement is marked, so that a statement with a million
-- rows does not fire outbox_wake a million times. SECURITY DEFINER: producers need no right on these tables.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF coalesce(pg_catalog.current_setting('outboxd.moving', true), '') OPERATOR(pg_catalog.=) 'on' THEN
        IF EXISTS (SELECT FROM %1$I.outbox_relays WHERE asleep)
           AND coalesce(pg_catalog.current_setting('outboxd.wake', true), '') OPERATOR(pg_catalog.<>) 'off' THEN
            PERFORM pg_catalog.pg_notify('outbox_wake', %1$L);
        END IF;
        RETURN NULL;
    END IF;
    INSERT INTO %1$I.outbox_entries (event_type, created_at, wakes)
    SELECT event_type, created_at,
           CASE WHEN id OPERATOR(pg_catalog.=) (SELECT id FROM written LIMIT 1) THEN (SELECT true FROM %1$I.outbox_relays WHERE asleep LIMIT 1) END
    FROM written;
    RETURN NULL;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE TRIGGER outbox_written AFTER INSERT ON outbox
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION outbox_written();

-- outbox_wake notifies sleeping relays while the producer's transaction commits. A commit with a NOTIFY waits for
-- every other commit with a NOTIFY in the whole database cluster, and cannot share its disk write (group commit) with
-- other commits. So if several transactions commit at the same time, only the one that gets an advisory lock
-- notifies. That transaction keeps the lock until it ends.
--
-- The other transactions may become visible a little later than the transaction that notified. After a notification
-- the relay claims again, first after relay.poll_min, and then with a pause that doubles each time. So the relay
-- finds the events of these other transactions soon after they become visible. If the transaction with the lock does
-- not commit, because a deferred constraint fails or its connection ends, nobody notifies for the others. Then the
-- next commit notifies, or the relay finds the events after relay.poll_interval at the latest.
--
-- Each hundredth of a second has its own lock. So a transaction that keeps its lock for long delays only the
-- notification for transactions of the same hundredth. A transaction may keep its lock for long because it made
-- deferred constraints immediate, waits for a replica, or has another slow trigger.
--
-- PostgreSQL refuses PREPARE TRANSACTION for a transaction that has notified, and this trigger cannot know that a
-- transaction will be prepared. A producer with prepared transactions must execute SET LOCAL outboxd.wake = off; the
-- relay then finds the transaction's events by polling.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_wake() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF coalesce(pg_catalog.current_setting('outboxd.wake', true), '') OPERATOR(pg_catalog.<>) 'off'
       AND pg_catalog.pg_try_advisory_xact_lock(%2$L::bigint OPERATOR(pg_catalog.#)
           (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 100)::bigint) THEN
        PERFORM pg_catalog.pg_notify('outbox_wake', %1$L);
    END IF;
    RETURN NULL;
END $$
$ddl$, current_schema(), hashtextextended(current_schema(), 7306087320)); END $do$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER outbox_wake AFTER INSERT ON outbox_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.wakes) EXECUTE FUNCTION outbox_wake();

-- The journal says what happened to single events. A row says that
--   - Redis refused an event (refused);
--   - an attempt of a handler failed (failed), or a receiver took a delivery
--     (delivered);
--   - an event died (died), was replayed by a person (replayed) or discarded
--     (discarded);
--   - a person let a failing task be retried at once (retried), or gave it up (given up);
--   - an event was sent again because Redis may have lost its task (redriven);
--   - a producer asked for a change that only the leader can make (requested), or the leader found that it was too
--     late for that change (too late);
--   - a producer or a person cancelled or rescheduled an event, or a person erased an event or emitted a corrected
--     copy of it (corrected);
--   - a worker took a task whose event does not exist (unknown; one row for each event), because PostgreSQL went back
--     to a state before the event.
--
-- A row may be missing, for example if the database could not be reached when an attempt failed. event_id has no
-- foreign key, because an event moves from table to table.
CREATE TABLE outbox_journal (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(), -- logical replication needs a key
    event_id   uuid        NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    stage      text        NOT NULL CONSTRAINT outbox_journal_stage_is_known CHECK (stage IN ('relay', 'worker', 'person')),
    entry      text        NOT NULL CONSTRAINT outbox_journal_entry_is_known
               CHECK (entry IN ('refused', 'failed', 'died', 'replayed', 'discarded', 'redriven', 'unknown', 'cancelled', 'rescheduled', 'erased', 'delivered', 'corrected', 'requested', 'too late', 'retried', 'given up')),
    generation integer     NOT NULL,
    attempt    integer     NOT NULL DEFAULT 0, -- counts from 1 in each generation and stage; 0: not an attempt
    detail     text        NOT NULL DEFAULT '',
    sent_at    timestamptz -- when the event had been handed over to Redis, if this entry is about its leaving the history
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000
);

CREATE INDEX outbox_journal_event ON outbox_journal (event_id, at);

-- This index is for deleting old rows. The column id is in the index so that no two rows have the same position. So a
-- page of rows can begin after a certain row.
CREATE INDEX outbox_journal_at ON outbox_journal (at, id);

-- This index finds the few tasks without an event among very many entries.
CREATE INDEX outbox_journal_unknown ON outbox_journal (at) WHERE entry = 'unknown';

-- outbox_actions has the actions of people, by command or on the pages, one row for each. The pause of a subscription
-- by a worker, because its receiver answered 410 (Gone), has a row too. An action may work in batches. The transaction
-- of each batch adds the number of its events to the column events. An action that has ended sets outcome. If the
-- action's process is killed, outcome may stay NULL.
CREATE TABLE outbox_actions (
    id     uuid        PRIMARY KEY DEFAULT outbox_new_id(),
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor  text        NOT NULL,
    action text        NOT NULL CONSTRAINT outbox_actions_action_is_known CHECK (action IN ('replay', 'discard', 'redrive', 'apply', 'pause', 'resume', 'remove', 'cancel', 'reschedule', 'erase', 'retry', 'give up', 'correct')),
    filter jsonb       NOT NULL,
    reason text        NOT NULL DEFAULT '',
    events bigint      NOT NULL DEFAULT 0,
    outcome text       CONSTRAINT outbox_actions_outcome_is_known CHECK (outcome IN ('done', 'stopped', 'interrupted', 'failed')),
    cause  text        NOT NULL DEFAULT '' -- why the outcome is not 'done'
);

CREATE INDEX outbox_actions_at ON outbox_actions (at);

-- This index finds who paused a queue last. The table does not say whether a queue is paused now: only Redis knows
-- that.
CREATE INDEX outbox_actions_queue ON outbox_actions ((filter ->> 'queue'), at) WHERE action IN ('pause', 'resume');

-- outbox_set_aside makes a dead letter of one row that cannot be relayed, and returns the event's ID.
-- outbox_set_aside returns NULL if even that fails; the row then stays in its table.
--
-- A row that cannot be relayed got into the table without the checks of outbox: for example by a restore, a trigger,
-- a disabled constraint or a newer version. Values within the bounds of outbox are kept, except for last_error, which
-- is cut to 2,000 characters. A time, a number of attempts or a generation outside the bounds becomes the nearest
-- value within them, and the dead letter counts on the day of the new created_at. An option outside its bounds is
-- left out, and so are headers that are not strings. An event without an ID gets one. If PostgreSQL cannot read a
-- value, the first attempt fails, and the second one keeps the event without its payload, headers, options and
-- last_error.
--
-- If the event already has a dead letter, only that letter's generation, stage, error and time of death change.
--
-- The caller must set outboxd.moving, and must pass on the event's turn.
-- +goose StatementBegin
CREATE FUNCTION outbox_set_aside(place regclass, row_at tid, cause text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    event uuid;
    moving text;
    -- The caller has rights on outbox_sent, but not on its partitions.
    whole regclass := CASE WHEN place IN ('outbox'::regclass, 'outbox_held'::regclass) THEN place ELSE 'outbox_sent'::regclass END;
BEGIN
    moving := $move$
        WITH gone AS (
            DELETE FROM %s WHERE tableoid = $3 AND ctid = $1 RETURNING *
        ), cleaned AS (
            SELECT coalesce(nullif(id, '00000000-0000-0000-0000-000000000000'), outbox_new_id()) AS id, coalesce(event_type, '') AS event_type, coalesce(queue, 'default') AS queue,
                   least(greatest(created_at, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 23:59:59.999999+00') AS created_at,
                   least(greatest(available_at, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 23:59:59.999999+00') AS available_at,
                   least(greatest(attempts, 0), 1000000000) AS attempts, least(greatest(generation, 0), 1000000000) AS generation,
                   ordering_key, ordering_position, origin_id, subscription, CASE WHEN $4 THEN split ELSE coalesce(split, 'done') END AS split, %s
            FROM gone
        ), turned AS ( -- an event that gets an ID here keeps its key's turn
            UPDATE outbox_turns t SET event_id = c.id FROM cleaned c
            WHERE t.ordering_key = c.ordering_key AND t.event_id = '00000000-0000-0000-0000-000000000000'
        ), dead AS (
            INSERT INTO outbox_dead AS d (id, event_type, queue, created_at, available_at, attempts, generation, ordering_key, ordering_position, origin_id, subscription, split,
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
            $all$) INTO event USING row_at, cause, place, place = 'outbox'::regclass;
        RETURN event;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR internal_error OR raise_exception THEN
        NULL;
    END;
    EXECUTE format(moving, whole, $little$
        ''::bytea, '{}'::jsonb, NULL::text, NULL::integer, NULL::integer, NULL::integer, NULL::integer, NULL::timestamptz
        $little$) INTO event USING row_at, cause || ' (kept without its payload, headers and options: they cannot be read)', place, place = 'outbox'::regclass;
    RETURN event;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR data_corrupted OR internal_error OR raise_exception THEN
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- outbox_samples has the samples for the charts of the dashboard. The leader writes one row about every ten seconds.
-- When rows are 25 hours old, the leader joins the rows of each five minutes into one row. The leader keeps the rows
-- for a week: 11,000 rows, about 1.2 MB.
CREATE TABLE outbox_samples (
    at             timestamptz PRIMARY KEY,
    relay          uuid        NOT NULL, -- the relay that measured, which is the leader
    seconds        real        NOT NULL, -- how many seconds the next four columns cover; 0, and no counts, if there was no sample in the minute before
    emitted        bigint      NOT NULL,
    enqueued       bigint      NOT NULL,
    confirmed      bigint      NOT NULL,
    died           bigint      NOT NULL,
    pending        bigint      NOT NULL, -- counted as far as domain.Backlog counts
    held           bigint      NOT NULL,
    dead           bigint      NOT NULL,
    oldest_due     real        NOT NULL, -- seconds since the oldest due event became due; 0: none is due
    delay_p50      real,                 -- seconds from the time in an event's ID to its handler, for events that were confirmed; null: none
    delay_p99      real,
    emitted_total  bigint      NOT NULL, -- counters; emitted and enqueued above are their increase
    enqueued_total bigint      NOT NULL,
    queued         bigint                -- tasks that waited in Redis, for a worker or for another attempt; null: not known
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- outbox_type_samples has what happened to events within a minute (confirmed, failed, died), by type and queue, for
-- the hundred pairs with the most events. The leader writes these rows once a minute and keeps them for 25 hours. A row
-- is about a whole minute of the clock, or a part of one. Each measured minute, or part, has one row without type and
-- queue. That row says that it was measured, even if nothing happened in it. A row with a queue and no type has the
-- number of tasks that waited in Redis.
CREATE TABLE outbox_type_samples (
    at         timestamptz NOT NULL, -- the end of what the row covers
    event_type text        NOT NULL,
    queue      text        NOT NULL,
    seconds    real        NOT NULL, -- how many seconds the row covers
    confirmed  bigint      NOT NULL, -- an estimate if the row of this time without type and queue is marked as estimated
    failed     bigint      NOT NULL, -- attempts of handlers that failed, and refusals; at most 20,000 are counted
    died       bigint      NOT NULL,
    delay_p50  real,                 -- seconds from the time in an event's ID to its handler; null: none was confirmed
    delay_p99  real,
    queued     bigint,               -- tasks that waited in Redis; only where there is no type
    estimated  boolean     NOT NULL DEFAULT false, -- of more than 20,000 confirmations, only a random part was looked at; only where there is neither type nor queue
    PRIMARY KEY (at, event_type, queue)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0);

-- outbox_failing has the leader's duties that fail at present, so that other processes can read them.
CREATE TABLE outbox_failing (
    work  text        PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    error text        NOT NULL
);

-- outbox_queue_identity has the marks with which outboxd notices that Redis lost data, or that this database went
-- back to an earlier state.
--
-- Redis may lose data, even while no relay is running. This database may go back to an earlier state: a standby
-- without the last commits is promoted, or a backup is restored.
--
-- The table has one row. name is part of the name of the canary key in Redis, because databases that share a Redis
-- must not share that key. An empty text of a mark means that the value is not known.
CREATE TABLE outbox_queue_identity (
    only_row       boolean     PRIMARY KEY DEFAULT true CONSTRAINT outbox_queue_identity_is_one_row CHECK (only_row),
    name           text        NOT NULL DEFAULT gen_random_uuid(),
    run_id         text        NOT NULL DEFAULT '',
    replication_id text        NOT NULL DEFAULT '',
    canary         text        NOT NULL DEFAULT '',
    canary_before  text        NOT NULL DEFAULT '', -- that the last renewal replaced, and that Redis may still have; '': not renewed since the last heal
    shards         text        NOT NULL DEFAULT '', -- of a Redis Cluster: run ID/replication ID=slots of each master; then run_id and replication_id have the IDs of all masters
    system_id      text        NOT NULL DEFAULT '', -- of the PostgreSQL cluster
    timeline       text        NOT NULL DEFAULT '', -- as in the names of WAL files; a promotion or a point-in-time recovery begins a new one
    -- Events that were handed to Redis since history_since and within the last history_seconds have not been dropped
    -- from the history (outbox_sent) for their age. history_seconds 0 means that no history is kept.
    history_seconds float8     NOT NULL DEFAULT 0,
    history_since  timestamptz,
    healed_at      timestamptz,
    heal_canary    text        NOT NULL DEFAULT '', -- that a heal writes to Redis when it begins, and to canary when it ends; '': the last heal has ended
    heal_reason    text        NOT NULL DEFAULT '', -- what happened before the last heal began
    went_back_at   timestamptz, -- when it was last noticed that this database may have gone back
    acknowledged   text        NOT NULL DEFAULT '', -- the last entry that was read from the stream of acknowledgements in Redis; 'end': skip what it has
    -- Events of these types cannot be cancelled once they are handed to Redis. unconfirmed: no consumer confirms
    -- them. elsewhere: consumers confirm them in other databases; outboxd learned these types from
    -- acknowledgements.
    unconfirmed    text[]      NOT NULL DEFAULT '{}',
    elsewhere      text[]      NOT NULL DEFAULT '{}',
    -- The types whose handlers in outboxd act outside the database without a transaction. The database cannot tell
    -- whether a handler without a transaction is working on an event at present.
    outward        text[]      NOT NULL DEFAULT '{}'
) WITH (fillfactor = 20);

INSERT INTO outbox_queue_identity DEFAULT VALUES;

-- outbox_chart_marks has marks that explain sudden changes in the charts. The kind heal is a heal; detail says what
-- happened before it. The kind version is the start of a relay whose version differs from that of the relay that
-- started before; detail is the version. A new mark deletes the marks of its kind that are older than eight days,
-- because no chart is longer than a week. The newest mark of the kind version stays, however old it is, because the
-- version of the next relay is compared with it.
CREATE TABLE outbox_chart_marks (
    id     uuid        PRIMARY KEY DEFAULT gen_random_uuid(), -- logical replication needs a key
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind   text        NOT NULL CONSTRAINT outbox_chart_marks_kind_is_known CHECK (kind IN ('heal', 'version')),
    detail text        NOT NULL DEFAULT ''
);

-- +goose StatementBegin
CREATE FUNCTION outbox_note_heal() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM outbox_chart_marks WHERE kind = 'heal' AND at < now() - interval '8 days';
    INSERT INTO outbox_chart_marks (at, kind, detail) VALUES (NEW.healed_at, 'heal', NEW.heal_reason);
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER outbox_note_heal AFTER UPDATE OF healed_at ON outbox_queue_identity
    FOR EACH ROW WHEN (NEW.healed_at IS DISTINCT FROM OLD.healed_at) EXECUTE FUNCTION outbox_note_heal();

-- +goose StatementBegin
CREATE FUNCTION outbox_note_version() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.version IS DISTINCT FROM (SELECT detail FROM outbox_chart_marks WHERE kind = 'version' ORDER BY at DESC LIMIT 1) THEN
        DELETE FROM outbox_chart_marks WHERE kind = 'version' AND at < now() - interval '8 days'
            AND at < (SELECT max(at) FROM outbox_chart_marks WHERE kind = 'version');
        INSERT INTO outbox_chart_marks (kind, detail) VALUES ('version', NEW.version);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER outbox_note_version AFTER INSERT ON outbox_relays FOR EACH ROW EXECUTE FUNCTION outbox_note_version();

-- outbox_id_time returns the time in an ID: in a UUID of version 7, or in the ID of a delivery whose event has such
-- an ID. For any other ID, outbox_id_time returns NULL.
-- +goose StatementBegin
CREATE FUNCTION outbox_id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN get_byte(uuid_send(id), 6) >> 4 = 7 OR get_byte(uuid_send(id), 6) >> 4 = 8 AND get_byte(uuid_send(id), 8) >> 5 = 5
        THEN to_timestamp(('x' || left(encode(uuid_send(id), 'hex'), 12))::bit(48)::bigint / 1000.0) END
$$;
-- +goose StatementEnd

-- outbox_task_of says whether the task of an event may take effect, in a database that may have gone back to an
-- earlier state. The answer 'rightful' means that the task may take effect. The answer 'early' means that the task
-- may not take effect yet, because the event was moved to a later time, or another event of its ordering key has the
-- turn. The answer 'unknown' means that the event does not exist: the transaction that wrote the event is lost. The
-- function uses one statement, because an event may move between tables meanwhile.
--
--   - An event with the turn may take effect. An event that took effect before may be held again, if the claim that
--     published the event was rolled back. Such an event is 'rightful' too, but the inbox prevents a second effect.
--   - Any other held event is 'early'. An event with an ordering key that is in outbox without the turn is 'early' too.
--     An event without an ordering key that is in flight may take effect, even if its ID was written again with an
--     ordering key and that repeat is held.
--   - An event may be in no table because its history was dropped or never kept. So an event in no table is 'unknown'
--     only if the time in its ID is later than the beginning of the history. Because clocks differ, history_seconds
--     counts here as an hour less, or as half if it is less than two hours.
-- +goose StatementBegin
CREATE FUNCTION outbox_task_of(event uuid) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN CASE
        WHEN EXISTS (SELECT FROM inbox i WHERE i.event_id = event) THEN 'rightful'
        WHEN EXISTS (SELECT FROM outbox_void_tasks v WHERE v.event_id = event AND v.until > clock_timestamp()) THEN 'early'
        WHEN EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = event) THEN 'rightful'
        WHEN EXISTS (SELECT FROM outbox_sent s WHERE s.id = event AND s.ordering_key IS NULL) THEN 'rightful'
        WHEN EXISTS (SELECT FROM outbox_held h WHERE h.id = event) THEN 'early'
        WHEN EXISTS (SELECT FROM outbox o WHERE o.id = event AND o.ordering_key IS NOT NULL) THEN 'early'
        WHEN EXISTS (SELECT FROM outbox o WHERE o.id = event)
          OR EXISTS (SELECT FROM outbox_sent s WHERE s.id = event)
          OR EXISTS (SELECT FROM outbox_dead d WHERE d.id = event)
          OR EXISTS (SELECT FROM outbox_cancelled c WHERE c.id = event) THEN 'rightful'
        WHEN outbox_id_time(event) > (
            SELECT greatest(history_since, now() - (history_seconds - least(history_seconds / 2, 3600)) * interval '1 second')
            FROM outbox_queue_identity WHERE history_since IS NOT NULL) THEN 'unknown'
        ELSE 'rightful'
    END;
END $$;
-- +goose StatementEnd

-- outbox_is_doubtful says whether a consumer must check that an event exists before it takes effect, because this
-- database may have gone back to an earlier state. The result is true if the database is on another timeline than the
-- relays have recorded. The result is also true if the time in the event's ID is earlier than a minute after the
-- relays noticed that the database went back. An ID without a time counts as old. The second kind of doubt ends after
-- history_seconds, or after an hour if that is longer. Then the history from before the change has been dropped, and
-- nothing shows any more that an event is unknown.
--
-- If there is no doubt about any event, the session stores the current second in a setting, so that only the first
-- confirmation of each second runs this check. The setting also names the schema, because a session may confirm
-- events in two schemas. The function reads the clock before it reads the table. So after outboxd has recorded
-- that the database went back, it waits for more than a second, until every session has seen the record. A
-- transaction with an older snapshot (not READ COMMITTED) stores nothing.
--
-- The function first checks whether it may call pg_walfile_name, because an error here would stop every consumer.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_is_doubtful(event uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    second  text := %1$L OPERATOR(pg_catalog.||) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.int8::pg_catalog.text;
    back_at timestamptz;
    line    text;
    may     boolean;
BEGIN
    SELECT i.timeline,
           CASE WHEN i.went_back_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => greatest(i.history_seconds, 3600))) THEN i.went_back_at END,
           pg_catalog.has_function_privilege('pg_catalog.pg_walfile_name(pg_catalog.pg_lsn)'::pg_catalog.regprocedure, 'EXECUTE')
    INTO line, back_at, may FROM %1$I.outbox_queue_identity i;
    IF back_at IS NOT NULL AND coalesce(%1$I.outbox_id_time(event) OPERATOR(pg_catalog.<) (back_at OPERATOR(pg_catalog.+) '1 minute'::pg_catalog.interval), true) THEN
        RETURN true;
    END IF;
    IF may AND line OPERATOR(pg_catalog.<>) '' THEN
        IF NOT pg_catalog.starts_with(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), line) THEN
            RETURN true;
        END IF;
    END IF;
    IF back_at IS NULL AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' THEN
        PERFORM pg_catalog.set_config('outboxd.sure_at', second, false);
    END IF;
    RETURN false;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_confirming decides whether an event may take effect. The trigger runs before each insert into inbox.
--
--   - A held event without the turn may not take effect, because an earlier event of its ordering key has not taken
--     effect, or this database has lost that confirmation. The error tells the worker to return the task to its queue.
--     The event is released when the earlier event is confirmed or ends in another way.
--   - An event that was moved to a later time, although Redis had its task already, may not take effect before that
--     time.
--   - If this database may have gone back to an earlier state, an event that does not exist may not take effect.
--     Then no row is written to inbox, so that the consumer behaves as if the event had taken effect before, and
--     the journal records the reason.
--
-- The trigger runs for every confirmation, so it does little. It compares the current second with the one that
-- the session has stored, and almost always makes only index lookups that find nothing. Neither outbox_confirming
-- nor outbox_is_doubtful sets a search_path.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_confirming() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF pg_catalog.current_setting('outboxd.sure_at', true) IS NOT DISTINCT FROM %1$L OPERATOR(pg_catalog.||) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.int8::pg_catalog.text
       OR NOT %1$I.outbox_is_doubtful(NEW.event_id) THEN
        PERFORM 1 FROM %1$I.outbox_held WHERE id OPERATOR(pg_catalog.=) NEW.event_id
        UNION ALL SELECT 1 FROM %1$I.outbox_void_tasks WHERE event_id OPERATOR(pg_catalog.=) NEW.event_id AND until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF NOT FOUND THEN
            RETURN NEW;
        END IF;
    END IF;
    CASE %1$I.outbox_task_of(NEW.event_id)
    WHEN 'early' THEN
        IF pg_catalog.current_setting('outboxd.barring', true) OPERATOR(pg_catalog.=) NEW.event_id::pg_catalog.text THEN
            RETURN NEW; -- outbox_reschedule_one deletes this row in the same transaction
        END IF;
        PERFORM %1$I.outbox_in_time(NEW.event_id);
        RAISE EXCEPTION 'event %% may not take effect yet: its ordering key has another event''s turn', NEW.event_id
            USING ERRCODE = 'OB001', HINT = 'Give the task back without charging it an attempt. It comes again when the event before it is confirmed.';
    WHEN 'unknown' THEN
        -- The event may exist and be newer than the transaction's snapshot.
        IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
            RAISE EXCEPTION 'whether event %% exists cannot be told in a transaction that is not READ COMMITTED', NEW.event_id
                USING ERRCODE = 'serialization_failure', HINT = 'Try again, or confirm in a READ COMMITTED transaction.';
        END IF;
        INSERT INTO %1$I.outbox_journal (event_id, stage, entry, generation, detail)
        SELECT NEW.event_id, 'worker', 'unknown', 0, 'PostgreSQL went back to before this event was committed; its task had no effect'
        WHERE NOT EXISTS (SELECT FROM %1$I.outbox_journal j WHERE j.event_id OPERATOR(pg_catalog.=) NEW.event_id AND j.entry OPERATOR(pg_catalog.=) 'unknown');
        RETURN NULL;
    ELSE
        RETURN NEW;
    END CASE;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

CREATE TRIGGER outbox_confirming BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION outbox_confirming();

-- outbox_mark returns the mark that identifies this outbox. The tasks of this outbox carry the mark, and so do their
-- acknowledgements. The mark depends on the outbox's name, the PostgreSQL cluster, the database and the table. So a
-- copy of the outbox has another mark from the beginning, whether it was made by CREATE DATABASE … TEMPLATE, from a
-- dump, or by logical replication. The cluster counts only if the function's owner may call pg_control_system. A
-- promoted standby keeps the mark, because its consumers have handled the events of this outbox. The result is NULL
-- if outbox_queue_identity has no row.
--
-- Claims call outbox_mark, so the function sets no search_path and writes the schema before every name.
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE FUNCTION outbox_mark() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    system text := '';
BEGIN
    IF pg_catalog.has_function_privilege('pg_catalog.pg_control_system()'::pg_catalog.regprocedure, 'EXECUTE') THEN
        system := (SELECT system_identifier FROM pg_catalog.pg_control_system());
    END IF;
    RETURN (SELECT pg_catalog."left"(pg_catalog.md5(pg_catalog.concat_ws(' ', i.name, system, d.oid, i.tableoid)), 16)
        FROM %1$I.outbox_queue_identity i, pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- outbox_acknowledge confirms events that took effect in a consumer's own database. outbox_acknowledge stores the
-- position up to which acknowledgements were read, and returns how many events it confirmed. If the stored position
-- is not the parameter since, another leader has read on. Then outbox_acknowledge confirms nothing and returns NULL.
--
--   - Another transaction may have an event or its turn locked, and may stay open for hours. If one makes the function
--     wait for longer than a moment, the function confirms the events one by one, and returns as locked the events that
--     would still have to wait. Then it does not store the position, so that no acknowledgement is lost.
--   - Several outboxes may share a Redis, so an acknowledgement may belong to another outbox. Acknowledgements for
--     this outbox have its mark. If a task was enqueued without a mark, its acknowledgement has none, and the event
--     is recognised without it.
--   - One statement looks the event up by ID, type and queue in the tables that may have it, because an event may
--     move meanwhile. An event with the turn of an ordering key is found by its ID alone, even if no history is
--     kept.
--   - If this database went back to an earlier state, the databases of consumers may have gone back with it. Then
--     an older acknowledgement may be for an effect that is lost. So the function confirms nothing and returns NULL
--     until the leader has recorded that the database went back. That record invalidates the old position: the
--     leader skips all acknowledgements that are in the stream by then, and sends the events again.
--   - In a database that went back, an acknowledgement may arrive although its event does not have the turn. The
--     function ignores it. When the event has the turn, it is sent and acknowledged again.
--   - Events are confirmed in the order of their ordering keys, as in confirm_many and outbox_advance, because
--     confirmations lock the turns of the keys in that order.
-- +goose StatementBegin
CREATE FUNCTION outbox_acknowledge(ids uuid[], types text[], queues text[], marks text[], since text, upto text, OUT confirmed bigint, OUT locked uuid[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
DECLARE
    at        outbox_queue_identity;
    known     uuid[];
    own       text := outbox_mark();
    event     uuid;
    added     bigint;
    open      uuid[] := '{}';
    alone     boolean := false;
BEGIN
    SELECT i.* INTO at FROM outbox_queue_identity i;
    IF at.acknowledged <> since THEN
        RETURN;
    END IF;
    IF ids <> '{}' AND at.timeline <> '' AND has_function_privilege('pg_catalog.pg_walfile_name(pg_catalog.pg_lsn)', 'EXECUTE') THEN
        IF NOT starts_with(pg_walfile_name(pg_current_wal_lsn()), at.timeline) THEN
            RETURN;
        END IF;
    END IF;
    SELECT array_agg(k.id ORDER BY t.ordering_key, k.id) INTO known FROM (SELECT DISTINCT a.id
    FROM unnest(ids, types, queues, marks) AS a(id, event_type, queue, mark)
    WHERE a.mark IN ('', own) AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = a.id)
      AND (EXISTS (SELECT FROM outbox_sent s WHERE s.id = a.id AND s.event_type = a.event_type AND s.queue = a.queue)
        OR EXISTS (SELECT FROM outbox o WHERE o.id = a.id AND o.event_type = a.event_type AND o.queue = a.queue)
        OR EXISTS (SELECT FROM outbox_dead d WHERE d.id = a.id AND d.event_type = a.event_type AND d.queue = a.queue)
        OR EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = a.id))
    ) AS k LEFT JOIN outbox_turns t ON t.event_id = k.id;
    PERFORM set_config('lock_timeout', '100ms', true);
    BEGIN
        INSERT INTO inbox (event_id) SELECT unnest(known) ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS confirmed = ROW_COUNT;
        -- Pass the turns on now: at the commit, this would wait for other transactions without the lock_timeout.
        SET CONSTRAINTS outbox_confirmed IMMEDIATE;
    EXCEPTION WHEN SQLSTATE 'OB001' OR lock_not_available THEN
        alone := true;
    END;
    IF alone THEN
        confirmed := 0;
        PERFORM set_config('lock_timeout', '20ms', true);
        FOREACH event IN ARRAY known LOOP
            BEGIN
                INSERT INTO inbox (event_id) VALUES (event) ON CONFLICT DO NOTHING;
                GET DIAGNOSTICS added = ROW_COUNT;
                SET CONSTRAINTS outbox_confirmed IMMEDIATE;
                confirmed := confirmed + added;
            EXCEPTION
                WHEN SQLSTATE 'OB001' THEN NULL;
                WHEN lock_not_available THEN open := open || event;
            END;
        END LOOP;
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    -- Lock this row last, because the healer needs it, and the statements above may wait for a producer that is
    -- cancelling an event.
    UPDATE outbox_queue_identity SET acknowledged = CASE WHEN open = '{}' THEN upto ELSE since END, elsewhere = elsewhere || ARRAY(
        SELECT DISTINCT a.event_type FROM unnest(ids, types) AS a(id, event_type) WHERE a.id = ANY (known) AND a.event_type <> ALL (elsewhere))
    WHERE acknowledged = since;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'acknowledgements were read from % on by another session', since USING ERRCODE = 'serialization_failure';
    END IF;
    locked := open;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION outbox_acknowledge;
DROP FUNCTION outbox_mark;
DROP TRIGGER outbox_confirming ON inbox;
DROP FUNCTION outbox_confirming;
DROP FUNCTION outbox_is_doubtful;
DROP FUNCTION outbox_task_of;
DROP FUNCTION outbox_id_time;
DROP TRIGGER outbox_note_version ON outbox_relays;
DROP FUNCTION outbox_note_version;
DROP TABLE outbox_queue_identity;
DROP FUNCTION outbox_note_heal;
DROP TABLE outbox_chart_marks;
DROP TABLE outbox_failing;
DROP TABLE outbox_type_samples;
DROP TABLE outbox_samples;
DROP FUNCTION outbox_set_aside;
DROP TABLE outbox_actions;
DROP TABLE outbox_journal;
DROP TRIGGER outbox_written ON outbox;
DROP FUNCTION outbox_written;
DROP TABLE outbox_account;
DROP TABLE outbox_entries;
DROP FUNCTION outbox_wake;
