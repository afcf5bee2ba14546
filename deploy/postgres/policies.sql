-- Row-level security, to say which producer may emit which events. Run it after
-- grants.sql, as a superuser, or on PostgreSQL 16 and newer as a role that may create
-- roles and has BYPASSRLS. It may be run again at any time.
--
-- A relay that sees only a part of the events would take it for the whole. So outboxd
-- asks PostgreSQL for an error if a policy would hide rows from it, and its own roles
-- bypass policies. Policies are for the roles of other services. Consumers need none:
-- confirm acts with its owner's rights.
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

-- Every producer may emit everything, as before. Replace this by a policy for each
-- producer, such as
--   CREATE POLICY orders ON outbox FOR INSERT TO orders WITH CHECK (event_type LIKE 'order:%');
DROP POLICY IF EXISTS outbox_producers ON outbox;
CREATE POLICY outbox_producers ON outbox FOR INSERT TO outboxd_producer WITH CHECK (true);

COMMIT;
