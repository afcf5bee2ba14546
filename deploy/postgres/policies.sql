-- Row-level security, to say which producer may emit which events. Run this file
-- after grants.sql, as a superuser, or on PostgreSQL 16 and newer as a role that may
-- alter outboxd's roles, has BYPASSRLS itself, and has the rights of outboxd_owner.
-- You may run it again at any time.
--
-- A relay that sees only a part of the events would not know that there are others.
-- So outboxd makes PostgreSQL raise an error if a policy would hide rows from it, and
-- outboxd's own roles bypass policies. Policies are for the roles of other services.
-- Consumers need no policy: outboxd.confirm acts with its owner's rights.
--
-- Do not FORCE ROW LEVEL SECURITY on any table: triggers and functions act as the
-- owner.
SET search_path = outboxd;

BEGIN;

ALTER ROLE outboxd_relay BYPASSRLS;
ALTER ROLE outboxd_worker BYPASSRLS;
ALTER ROLE outboxd_monitor BYPASSRLS;
ALTER ROLE outboxd_operator BYPASSRLS;

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;

-- With this policy every producer may emit any event, as without row-level security.
-- Replace it by a policy for each producer, such as
--   CREATE POLICY orders ON outbox FOR INSERT TO orders WITH CHECK (event_type LIKE 'order:%');
DROP POLICY IF EXISTS outbox_producers ON outbox;
CREATE POLICY outbox_producers ON outbox FOR INSERT TO outboxd_producer WITH CHECK (true);

COMMIT;
