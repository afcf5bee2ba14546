-- Grants for the example: for the role api, and for the worker that sends its
-- notifications. Run this file as outboxd_owner or a superuser, after every outboxd
-- migrate up and after ../grants.sql. You may run it again at any time.

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA outboxd_example FROM PUBLIC, outboxd_api, outboxd_worker;
REVOKE ALL ON ALL TABLES IN SCHEMA outboxd FROM outboxd_api;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA outboxd FROM outboxd_api;

-- The API and the worker read which migrations both schemas have.
GRANT SELECT ON outboxd.outboxd_migrations TO outboxd_api;
GRANT SELECT ON outboxd_example.outboxd_example_migrations TO outboxd_api, outboxd_worker;

SET LOCAL search_path = outboxd_example;

-- Role api: a producer that also reads the rows that it wrote.
GRANT SELECT, INSERT ON users, notifications, idempotency_keys TO outboxd_api;
GRANT DELETE ON idempotency_keys TO outboxd_api;
GRANT INSERT (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
    unique_seconds, available_at, ordering_key) ON outboxd.outbox TO outboxd_api;
GRANT SELECT (id, available_at, created_at, ordering_position) ON outboxd.outbox TO outboxd_api;
GRANT EXECUTE ON FUNCTION outboxd.outbox_new_id, outboxd.lock_key, outboxd.outbox_within_bounds, outboxd.outbox_is_blank TO outboxd_api;

-- Role worker: what its handler reads and writes. The worker may not read the hashes
-- of passwords.
GRANT SELECT (id, email, created_at) ON users TO outboxd_worker;
GRANT SELECT, UPDATE (status, sent_at) ON notifications TO outboxd_worker;

COMMIT;
