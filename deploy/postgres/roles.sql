-- The roles of an outboxd database, and its schema. Run this file in that database,
-- as a superuser:
--
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/roles.sql
--   outboxd migrate up        with the URL of outboxd_owner
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/grants.sql
--
-- Roles belong to the cluster, and everything else here to the database. Run this
-- file in each database that has an outbox; it may be run again. Roles that exist keep
-- their attributes and passwords.
--
-- The example, which production does not need, has files of its own in the folder
-- example.
--
-- The roles have no password yet: use \password outboxd_relay, or a client
-- certificate. docs/explanation/security.md says what each role is for.

BEGIN;

-- outboxd_owner owns the schema, and its tables except the history, which belongs to
-- outboxd_relay. No running process needs outboxd_owner: migrations and grants.sql
-- do. Each role of a process has a PostgreSQL role (the one of the API is in the
-- folder example), and people have outboxd_operator. outboxd_producer and
-- outboxd_consumer are groups for the roles of other services: GRANT
-- outboxd_producer TO orders;
--
-- This block ignores the error that a role exists, because this file may run in two
-- databases at the same time.
DO $$
DECLARE
    role record;
BEGIN
    FOR role IN SELECT * FROM (VALUES
        ('outboxd_owner', true), ('outboxd_relay', true), ('outboxd_worker', true), ('outboxd_monitor', true),
        ('outboxd_operator', true), ('outboxd_producer', false), ('outboxd_consumer', false)
    ) AS wanted (name, login)
    LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role.name);
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', role.name, CASE WHEN role.login THEN 'LOGIN' ELSE 'NOLOGIN' END);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

-- outboxd_operator has all rights of outboxd_monitor, and more.
GRANT outboxd_monitor TO outboxd_operator;

-- The relay makes and drops the history's partitions, so it must own the history.
-- Migrations change the history too, so the owner has the relay's rights. The relay
-- does not have the owner's rights.
GRANT outboxd_relay TO outboxd_owner;

CREATE SCHEMA IF NOT EXISTS outboxd AUTHORIZATION outboxd_owner;
GRANT USAGE ON SCHEMA outboxd TO outboxd_relay, outboxd_worker, outboxd_monitor, outboxd_producer, outboxd_consumer;
GRANT CREATE ON SCHEMA outboxd TO outboxd_relay;

-- PostgreSQL lets every role call every new function. Some of outboxd's functions act
-- with the owner's rights, so each right to call one is granted by name instead.
ALTER DEFAULT PRIVILEGES FOR ROLE outboxd_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Default privileges for the partitions that the relay will make. Queries through
-- outbox_sent do not need these privileges. Queries of a partition by its name need
-- them, such as those of pg_dump or of a person.
ALTER DEFAULT PRIVILEGES FOR ROLE outboxd_relay IN SCHEMA outboxd GRANT SELECT ON TABLES TO outboxd_monitor;

COMMIT;
