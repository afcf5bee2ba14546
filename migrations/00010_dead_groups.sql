-- Dead letters of one cause are one group, on the page and for what people do
-- about them. The group is kept with each dead letter, so that a small group is
-- found at once among a million of others.

-- +goose Up

-- The error with # for each UUID and each number. Its length keeps the index's
-- rows well below the third of a page that B-trees take.
ALTER TABLE outbox_dead ADD COLUMN error_form text GENERATED ALWAYS AS
    (left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)) STORED;
CREATE INDEX outbox_dead_group ON outbox_dead (event_type, error_form, died_at, id);

-- +goose Down
DROP INDEX outbox_dead_group;
ALTER TABLE outbox_dead DROP COLUMN error_form;
