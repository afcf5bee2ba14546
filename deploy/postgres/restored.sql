-- Repairs outboxd's tables after their rows came from elsewhere: from data restored
-- without the schema, logical replication, or a load with triggers off.
-- docs/guides/backup.md says when to run it. Run this file as the owner of the tables
-- or a superuser, before relays, workers and producers start. You may run it again at
-- any time.
SET search_path = outboxd;

BEGIN;

LOCK TABLE outbox, outbox_held, outbox_sent, outbox_dead, outbox_suppressed, outbox_cancelled, inbox, outbox_entries, outbox_account IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE outbox ENABLE TRIGGER USER;
ALTER TABLE inbox ENABLE TRIGGER USER;
ALTER TABLE outbox_cancelled ENABLE TRIGGER USER;
ALTER TABLE outbox_entries ENABLE TRIGGER USER;

-- The sequence of positions continues from the highest position in use, because
-- replication does not copy sequences. A position of 2^61 or more was brought by a
-- producer, because the sequence never gets that far. Such a position must not use up the
-- sequence: outbox takes no positions from 2^62 on.
SELECT setval('outbox_ordering_position', least(max(position), 2305843009213693951)) FROM (
    SELECT last_value AS position FROM outbox_ordering_position
    UNION ALL SELECT max(ordering_position) FROM outbox
    UNION ALL SELECT max(ordering_position) FROM outbox_held
    UNION ALL SELECT max(ordering_position) FROM outbox_sent
    UNION ALL SELECT max(ordering_position) FROM outbox_dead
) AS positions;

-- The account is computed again. As emitted events the account counts those that exist
-- in this database, and those that the account knows to have ended. So the account no
-- longer shows events that were lost before this file ran.
WITH gone AS (
    DELETE FROM outbox_entries RETURNING event_type, created_at, unrecorded, repeated
)
INSERT INTO outbox_account AS a (day, event_type, unrecorded, repeated)
SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, coalesce(sum(unrecorded), 0), coalesce(sum(repeated), 0)
FROM gone GROUP BY 1, 2
ON CONFLICT (day, event_type) DO UPDATE SET unrecorded = a.unrecorded + excluded.unrecorded, repeated = a.repeated + excluded.repeated;

-- Deliveries that have ended and are in no table any more cannot be told from events. So
-- they count as emitted events.
UPDATE outbox_account SET deliveries = 0, emitted = confirmed + unconfirmed + unrecorded + discarded + repeated + suppressed + cancelled;

INSERT INTO outbox_account AS a (day, event_type, emitted, deliveries)
SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, count(*) FILTER (WHERE subscription IS NULL), count(subscription)
FROM (
    SELECT event_type, created_at, subscription FROM outbox
    UNION ALL SELECT event_type, created_at, subscription FROM outbox_held
    UNION ALL SELECT event_type, created_at, subscription FROM outbox_sent
    UNION ALL SELECT event_type, created_at, subscription FROM outbox_dead
    UNION ALL SELECT event_type, created_at, subscription FROM outbox_suppressed
    UNION ALL SELECT event_type, created_at, subscription FROM outbox_cancelled
) AS present
GROUP BY 1, 2
ON CONFLICT (day, event_type) DO UPDATE SET emitted = a.emitted + excluded.emitted, deliveries = excluded.deliveries;

COMMIT;
