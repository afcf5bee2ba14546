package upkeep_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// The measurement counts a bounded part of tables that hold far more, with and without statistics.
func TestTheMeasurementIsBounded(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	conn, _ := repositorytest.Session(t, db)
	exec(t, db, "ALTER TABLE outbox SET (autovacuum_enabled = false)")
	exec(t, db, "ALTER TABLE outbox DISABLE TRIGGER USER; ALTER TABLE inbox DISABLE TRIGGER USER; ALTER TABLE outbox_dead DISABLE TRIGGER USER")
	exec(t, db, `INSERT INTO outbox (id, event_type, payload) SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload' FROM generate_series(1, 100000) n`)
	exec(t, db, `INSERT INTO inbox (event_id, processed_at) SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, now() - interval '1 hour' FROM generate_series(1, 100000) n`)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
		SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload', '{}', 'default', now(), 1, 0, now(), 'worker', 'error', now() - n * interval '1 second'
		FROM generate_series(1, 100000) n`)
	exec(t, db, "INSERT INTO outbox_entries SELECT 'test:a', now() FROM generate_series(1, 600000)")
	repositorytest.WantBounded(t, conn, upkeep.MeasureStatement(), search.CountLimit, upkeep.EntriesLimit)
	exec(t, db, "ANALYZE outbox, inbox, outbox_dead")
	repositorytest.WantBounded(t, conn, upkeep.MeasureStatement(), search.CountLimit, upkeep.EntriesLimit)
}

// The measurement by type and queue reads a bounded number of a busy minute's confirmations
// and failures.
func TestTheMeasurementByTypeIsBounded(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	conn, _ := repositorytest.Session(t, db)
	exec(t, db, "ALTER TABLE inbox DISABLE TRIGGER USER")
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 30000) n`)
	exec(t, db, `INSERT INTO inbox (event_id, processed_at) SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, now() - n * interval '1 ms' FROM generate_series(1, 30000) n`)
	exec(t, db, `INSERT INTO outbox_journal (event_id, at, stage, entry, generation) SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, now() - n * interval '1 ms', 'worker', 'failed', 0 FROM generate_series(1, 30000) n`)
	exec(t, db, "ANALYZE outbox_sent, inbox, outbox_journal")
	repositorytest.WantBounded(t, conn, upkeep.MeasureTypesStatement(), 10_000, 0)
}
