package deadletters_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/repository/deadletters"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
)

// A page of a hundred thousand dead letters reads a bounded part of them, with and
// without statistics.
func TestPagesOfDeadLettersAreBounded(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	conn, _ := repositorytest.Session(t, db)
	exec(t, db, "ALTER TABLE outbox_dead DISABLE TRIGGER USER")
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload', '{}', 'default', now(), 1, 0, now(), 'worker', 'error ' || chr(97 + n % 7) || n, now() - n * interval '1 second'
		FROM generate_series(1, 100000) n`)
	repositorytest.WantBounded(t, conn, deadletters.PageStatements(), search.CountLimit, 0)
	exec(t, db, "ANALYZE outbox_dead")
	repositorytest.WantBounded(t, conn, deadletters.PageStatements(), search.CountLimit, 0)
}
