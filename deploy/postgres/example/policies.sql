-- Beside ../policies.sql, where the example runs, by the same account: row-level
-- security of the outbox is for the roles of other services.
ALTER ROLE outboxd_api BYPASSRLS;
