-- Row-level security, for who wants to say which producer may emit which events.
-- After grants.sql, by a superuser, or on PostgreSQL 16 and newer by whoever may
-- create roles and has BYPASSRLS. It may be run again at any time.
--
-- outboxd asks PostgreSQL for an error where a policy would hide rows from it:
-- a relay that sees a part of the events takes it for all. So its own roles
-- stand above policies, and policies are for the roles of other services.
-- Consumers need none: confirm acts with its owner's rights.
--
-- No FORCE ROW LEVEL SECURITY, on any table: triggers and functions act as the owner.
SET search_path = outboxd;

BEGIN;

ALTER ROLE outboxd_relay BYPASSRLS;
ALTER ROLE outboxd_worker BYPASSRLS;
ALTER ROLE outboxd_monitor BYPASSRLS;
ALTER ROLE outboxd_operator BYPASSRLS;

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;

-- Every producer may emit everything, as before. Replace it by a policy for each, such as
--   CREATE POLICY orders ON outbox FOR INSERT TO orders WITH CHECK (event_type LIKE 'order:%');
DROP POLICY IF EXISTS outbox_producers ON outbox;
CREATE POLICY outbox_producers ON outbox FOR INSERT TO outboxd_producer WITH CHECK (true);

COMMIT;
