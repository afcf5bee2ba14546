-- The inbox of a consumer whose effects are in another database than the outbox.
-- The table records the events that took effect in this database. Keep the rows for
-- longer than outboxd's --relay-history.
CREATE TABLE IF NOT EXISTS outboxd_inbox (
    event_id     uuid        PRIMARY KEY,
    processed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS outboxd_inbox_processed_at ON outboxd_inbox (processed_at);
