-- If you run the example, run this file after ../policies.sql, as the same role. This
-- file lets the role outboxd_api emit the example's events.
ALTER ROLE outboxd_api BYPASSRLS;
