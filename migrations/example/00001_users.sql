-- The example service: users, and the notifications that are sent to them. The name of its schema is derived from
-- outboxd's schema, which is the first on the search_path here.

-- +goose Up
SELECT set_config('search_path', quote_ident((parse_ident(current_setting('search_path'), false))[1] || '_example') || ', pg_temp', true);

CREATE TABLE users (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    email         text        NOT NULL CONSTRAINT users_email_is_not_blank CHECK (email COLLATE "C" ~ '[!-~]'),
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- The address is stored as the user wrote it, and is unique regardless of case.
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE notifications (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    type       text        NOT NULL,
    message    text        NOT NULL,
    status     text        NOT NULL DEFAULT 'PENDING'
               CONSTRAINT notifications_status_is_known CHECK (status IN ('PENDING', 'SENT')),
    sent_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT notifications_sent_at_goes_with_sent CHECK ((status = 'SENT') = (sent_at IS NOT NULL))
);

CREATE INDEX notifications_user_id ON notifications (user_id, created_at);

-- Maps an Idempotency-Key to the user that was registered with it. The key is inserted before the user, so that a
-- second request with the same key waits for the first. Therefore the foreign key is deferred.
CREATE TABLE idempotency_keys (
    key        text        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_user_id ON idempotency_keys (user_id);

-- +goose Down
SELECT set_config('search_path', quote_ident((parse_ident(current_setting('search_path'), false))[1] || '_example') || ', pg_temp', true);

DROP TABLE idempotency_keys;
DROP TABLE notifications;
DROP TABLE users;
