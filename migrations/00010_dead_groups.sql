-- Dead letters of one cause are one group, on the page and for what people do
-- about them. The index finds a small group at once among a million of others.

-- +goose Up

-- The error with # for each UUID and each number, as repository.errorFormSQL
-- has it. Its length keeps the index's rows well below the third of a page that
-- B-trees take. Not CONCURRENTLY, which would wait for every open transaction:
-- nothing dies while the index is built, which takes a few seconds for a million
-- dead letters. Reading goes on.
CREATE INDEX outbox_dead_group ON outbox_dead (event_type,
    (left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)), died_at, id);

-- +goose Down
DROP INDEX outbox_dead_group;
