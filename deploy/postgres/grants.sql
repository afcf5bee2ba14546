-- The rights of the roles of roles.sql. Run this file as outboxd_owner or a
-- superuser, after every outboxd migrate up, because migrations grant nothing to
-- roles. You may run it again at any time. The file first revokes what these
-- roles were granted on outboxd's tables and functions. It revokes no right on a table
-- from the relay, which owns some, nor from the monitor, which has grants on partitions.
SET search_path = outboxd;

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA outboxd
    FROM PUBLIC, outboxd_worker, outboxd_operator, outboxd_producer, outboxd_consumer;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA outboxd
    FROM PUBLIC, outboxd_relay, outboxd_worker, outboxd_monitor, outboxd_operator, outboxd_producer, outboxd_consumer;

-- Every process reads the list of applied migrations and compares it with its own.
GRANT SELECT ON outboxd_migrations TO outboxd_relay, outboxd_worker, outboxd_monitor;

-- Producers. INSERT is granted by column. A producer may not set attempts, generation
-- and ordering_position, which only outboxd sets. A producer may not set created_at
-- either, because a lowered payload limit does not apply to older rows. INSERT …
-- RETURNING id needs GRANT SELECT (id) as well; emit does not.
GRANT INSERT (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
    unique_seconds, available_at, ordering_key) ON outbox TO outboxd_producer;
GRANT EXECUTE ON FUNCTION emit, outbox_new_id, lock_key TO outboxd_producer;
-- PostgreSQL checks an event's bounds by a function that runs with the rights of the
-- role that writes the event.
GRANT EXECUTE ON FUNCTION outbox_within_bounds, outbox_is_blank TO outboxd_producer, outboxd_relay, outboxd_operator;
-- A producer that knows an event's ID may cancel or reschedule the event. An ID
-- that outboxd makes cannot be guessed. Leave this grant out if producers must
-- not change one another's events.
GRANT EXECUTE ON FUNCTION cancel, reschedule TO outboxd_producer;

-- Consumers of other services.
-- outbox_follow shows held events of the type and queue that it is asked for, and
-- outbox_end_run confirms them.
GRANT EXECUTE ON FUNCTION confirm, confirm_many, outbox_follow, outbox_end_run TO outboxd_consumer;

-- Role worker: it confirms effects, and makes dead letters of events, in whichever
-- table an event is. The grants on the tables of your handlers are not in this
-- file.
GRANT SELECT, INSERT ON inbox TO outboxd_worker;
GRANT SELECT, DELETE ON outbox, outbox_held, outbox_sent TO outboxd_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_dead TO outboxd_worker;
GRANT SELECT ON outbox_turns TO outboxd_worker;
GRANT SELECT, UPDATE (unconfirmed) ON outbox_account TO outboxd_worker;
GRANT INSERT ON outbox_entries, outbox_journal TO outboxd_worker;
GRANT EXECUTE ON FUNCTION confirm_many, outbox_ask, outbox_follow, outbox_end_run, outbox_pass_turn, outbox_is_confirmed, outbox_new_id TO outboxd_worker;
-- If a receiver answers 410, the worker pauses the subscription, and records that in
-- outbox_actions.
GRANT SELECT, UPDATE (paused_at, paused_by, pause_reason, down_since, down_until, down_reason) ON outbox_subscriptions TO outboxd_worker;
GRANT INSERT (actor, action, filter, reason, events, outcome, cause) ON outbox_actions TO outboxd_worker;
GRANT SELECT (id) ON outbox_actions TO outboxd_worker;

-- Role relay. The relay's SELECT … FOR UPDATE needs the right UPDATE.
ALTER TABLE outbox_sent OWNER TO outboxd_relay;
ALTER TABLE outbox_sent_default OWNER TO outboxd_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, outbox_relays TO outboxd_relay;
GRANT SELECT, INSERT, DELETE ON outbox_held TO outboxd_relay;
GRANT SELECT, INSERT, UPDATE ON outbox_dead TO outboxd_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_suppressed TO outboxd_relay;
GRANT SELECT, UPDATE (removed_at), DELETE ON outbox_cancelled, outbox_void_tasks TO outboxd_relay;
GRANT SELECT, UPDATE (event_id) ON outbox_turns TO outboxd_relay; -- outbox_set_aside gives an ID to an event that has none
GRANT SELECT, INSERT, DELETE ON outbox_entries, outbox_journal TO outboxd_relay;
GRANT SELECT, INSERT, UPDATE ON outbox_account TO outboxd_relay;
GRANT SELECT, UPDATE ON outbox_queue_identity TO outboxd_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_missing, outbox_failing TO outboxd_relay;
GRANT SELECT, INSERT, DELETE ON outbox_samples, outbox_type_samples TO outboxd_relay;
GRANT SELECT, DELETE ON inbox TO outboxd_relay;
GRANT SELECT, INSERT, DELETE ON outbox_chart_marks TO outboxd_relay; -- by triggers
GRANT SELECT ON outbox_subscriptions TO outboxd_relay;
GRANT SELECT, UPDATE ON outbox_schedules TO outboxd_relay;
GRANT EXECUTE ON FUNCTION outbox_tick_id TO outboxd_relay;
GRANT SELECT, INSERT ON outbox_awaited TO outboxd_relay;
GRANT SELECT ON outbox_requests TO outboxd_relay;
GRANT SELECT, UPDATE ON outbox_replays TO outboxd_relay;
GRANT SELECT (id, events), UPDATE (events, outcome, cause) ON outbox_actions TO outboxd_relay;
GRANT EXECUTE ON FUNCTION outbox_delivery_id, outbox_delivery_key TO outboxd_relay;
GRANT EXECUTE ON FUNCTION outbox_delivery_id, outbox_delivery_key, outbox_payload_field TO outboxd_monitor;
GRANT EXECUTE ON FUNCTION outbox_advance, outbox_pass_turn, outbox_is_confirmed, outbox_set_aside, outbox_new_id, outbox_acknowledge, outbox_mark, outbox_await,
    outbox_carry_out, outbox_asked_tasks TO outboxd_relay;

-- Role monitor, and the commands that only look: everything about events,
-- payloads too.
GRANT SELECT ON outbox, outbox_held, outbox_sent, outbox_sent_default, outbox_dead, outbox_suppressed, outbox_cancelled, outbox_void_tasks, outbox_turns, outbox_relays, inbox, outbox_journal,
    outbox_actions, outbox_entries, outbox_account, outbox_queue_identity, outbox_chart_marks, outbox_missing, outbox_samples, outbox_type_samples, outbox_failing, outbox_schedules, outbox_subscriptions, outbox_former_subscriptions, outbox_awaited, outbox_replays, outbox_requests TO outboxd_monitor;
GRANT SELECT ON SEQUENCE outbox_ordering_position TO outboxd_monitor, outboxd_relay;

-- Role operator, for the commands that change something, such as outboxd dead, redrive,
-- events and subscriptions, and for a monitor on whose pages people may change something.
GRANT INSERT, DELETE, UPDATE ON outbox_dead TO outboxd_operator;
GRANT INSERT ON outbox, outbox_journal, outbox_entries TO outboxd_operator;
GRANT UPDATE (generation) ON outbox TO outboxd_operator;
GRANT UPDATE (event_id) ON outbox_turns TO outboxd_operator;
GRANT UPDATE (generation), DELETE ON outbox_sent TO outboxd_operator;
GRANT UPDATE ON outbox_missing TO outboxd_operator;
GRANT INSERT, UPDATE ON outbox_void_tasks TO outboxd_operator;
-- The database sets the time of an action. After the insert, only how far the action came and how it
-- ended can change.
GRANT INSERT (actor, action, filter, reason, events, outcome, cause), UPDATE (events, outcome, cause) ON outbox_actions TO outboxd_operator;
GRANT INSERT, UPDATE ON outbox_account TO outboxd_operator;
GRANT INSERT, UPDATE, DELETE ON outbox_subscriptions, outbox_replays, outbox_schedules TO outboxd_operator;
GRANT INSERT, UPDATE ON outbox_former_subscriptions TO outboxd_operator;
GRANT INSERT ON outbox_held TO outboxd_operator;
GRANT EXECUTE ON FUNCTION emit, outbox_new_id, lock_key, outbox_pass_turn, outbox_advance, outbox_set_aside, outbox_delivery_ended,
    outbox_cancel, outbox_reschedule, outbox_erase, outbox_tasks_of, outbox_asked_tasks, outbox_delivery_id, outbox_delivery_key, outbox_payload_field TO outboxd_operator;

COMMIT;
