-- The roles of an outboxd database, and its schema. Once, by a superuser (or
-- whoever may create roles), in that database:
--
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/roles.sql
--   outboxd migrate up        with the URL of outboxd_owner
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/grants.sql
--
-- Nobody has a password yet: \password outboxd_relay, or a client certificate.
-- docs/security.md says what each role is for.

-- Owns the schema and its tables, and is used to migrate, for nothing else.
CREATE ROLE outboxd_owner LOGIN;
-- One for each role of the process, and one for people.
CREATE ROLE outboxd_relay LOGIN;
CREATE ROLE outboxd_worker LOGIN;
CREATE ROLE outboxd_api LOGIN;
CREATE ROLE outboxd_monitor LOGIN;
CREATE ROLE outboxd_operator LOGIN;
-- Groups, for the roles of other services: GRANT outboxd_producer TO orders;
CREATE ROLE outboxd_producer NOLOGIN;
CREATE ROLE outboxd_consumer NOLOGIN;

-- Operators see what the monitor sees, and more.
GRANT outboxd_monitor TO outboxd_operator;

-- The relay makes and drops the history's partitions, for which PostgreSQL
-- wants it to own the history. Migrations change the history too: the owner may
-- do what the relay may. The reverse is not so.
GRANT outboxd_relay TO outboxd_owner;

CREATE SCHEMA outboxd AUTHORIZATION outboxd_owner;
GRANT USAGE ON SCHEMA outboxd TO outboxd_relay, outboxd_worker, outboxd_api, outboxd_monitor, outboxd_producer, outboxd_consumer;
GRANT CREATE ON SCHEMA outboxd TO outboxd_relay;

-- Groups do not hand this on: producers and consumers write outboxd.outbox_emit.
ALTER ROLE outboxd_owner SET search_path = outboxd;
ALTER ROLE outboxd_relay SET search_path = outboxd;
ALTER ROLE outboxd_worker SET search_path = outboxd;
ALTER ROLE outboxd_api SET search_path = outboxd;
ALTER ROLE outboxd_monitor SET search_path = outboxd;
ALTER ROLE outboxd_operator SET search_path = outboxd;

-- PostgreSQL lets everybody call every new function. Some of these act with the
-- owner's rights, so each is granted by name instead.
ALTER DEFAULT PRIVILEGES FOR ROLE outboxd_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The partitions that the relay will make. Queries go through outbox_sent, whose
-- grants are enough for them; this is for who looks at a day by its name, such
-- as pg_dump or EXPLAIN by hand.
ALTER DEFAULT PRIVILEGES FOR ROLE outboxd_relay IN SCHEMA outboxd GRANT SELECT ON TABLES TO outboxd_monitor;
