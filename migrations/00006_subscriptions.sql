-- Subscriptions: which events go to which receivers beside their queue. The relay
-- reads them with each claim, and makes the deliveries; producers know nothing of it.

-- +goose Up
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE outbox_subscriptions (
    -- Part of the IDs of its deliveries. A name that is used again has another one,
    -- so that what the former subscription confirmed does not count for this one.
    id               uuid        PRIMARY KEY DEFAULT outbox_new_id(),
    name             text        NOT NULL UNIQUE,
    types            text[]      NOT NULL, -- as they were written
    patterns         text[]      NOT NULL, -- the same for LIKE
    headers          jsonb       NOT NULL DEFAULT '{}',
    url              text        NOT NULL,
    secrets          text[]      NOT NULL DEFAULT '{}', -- references, never the secrets
    format           text        NOT NULL,
    timeout_ms       bigint      NOT NULL,
    concurrency      integer     NOT NULL,
    rate             float8      NOT NULL DEFAULT 0, -- a second; 0: no limit
    attempts         integer     NOT NULL,
    retry_max_ms     bigint      NOT NULL,
    ordering         text        NOT NULL CONSTRAINT outbox_subscriptions_ordering_is_known CHECK (ordering IN ('key', 'none')),
    instead_of_queue boolean     NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    changed_at       timestamptz NOT NULL DEFAULT now(),
    paused_at        timestamptz,
    paused_by        text        NOT NULL DEFAULT '',
    pause_reason     text        NOT NULL DEFAULT '',
    removed_at       timestamptz -- its deliveries are being discarded
);

-- +goose Down
DROP TABLE outbox_subscriptions;
