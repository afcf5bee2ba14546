-- Run this after ../policies.sql if you run the example, as the same role:
-- row-level security of the outbox is for the roles of other services.
ALTER ROLE outboxd_api BYPASSRLS;
