-- The PostgreSQL role and the schema of the example, so that the process's role api
-- can have a PostgreSQL role of its own. Run this file after ../roles.sql, as the
-- same role:
--
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/example/roles.sql
--   outboxd migrate up --example=on        with the URL of outboxd_owner
--   psql -v ON_ERROR_STOP=1 -d app -f deploy/postgres/example/grants.sql
--
-- You may run it again at any time, and in several databases of a cluster.

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'outboxd_api') THEN
        CREATE ROLE outboxd_api LOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database is set up at the same time
END $$;

CREATE SCHEMA IF NOT EXISTS outboxd_example AUTHORIZATION outboxd_owner;
GRANT USAGE ON SCHEMA outboxd_example TO outboxd_api, outboxd_worker;
GRANT USAGE ON SCHEMA outboxd TO outboxd_api;

COMMIT;
