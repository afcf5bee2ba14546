package heal_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
)

// A statement that puts events back meets each of them a few times, and does not compare every event with every other.
func TestTheWorkOfPuttingEventsBackGrowsWithTheirNumber(t *testing.T) {
	t.Parallel()
	const events = 1000
	db := schematest.Open(t)
	conn, _ := repositorytest.Session(t, db)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), 'test', '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, $1::int)`, events)
	exec(t, db, `INSERT INTO outbox_missing (event_id, event_type, queue, generation, sent_at, task) SELECT id, event_type, queue, generation, sent_at, '' FROM outbox_sent`)
	var ids string
	if err := conn.QueryRowContext(t.Context(), "SELECT array_agg(id)::text FROM outbox_sent").Scan(&ids); err != nil {
		t.Fatal(err)
	}
	repositorytest.WantBounded(t, conn, heal.BackStatements(events, ids), 2*events, 0)
	exec(t, db, "ANALYZE outbox_sent, outbox_missing")
	repositorytest.WantBounded(t, conn, heal.BackStatements(events, ids), 2*events, 0)
}
