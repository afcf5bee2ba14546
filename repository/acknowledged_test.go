package repository_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
)

// Only what is of an event of this outbox confirms it, wherever the event is, and only once.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, queue, ordering_key) VALUES
		('00000000-0000-7000-8000-000000000001', 'a', '', 'q', NULL), ('00000000-0000-7000-8000-000000000002', 'a', '', 'q', NULL),
		('00000000-0000-7000-8000-000000000003', 'a', '', 'q', 'k')`)
	// The second one is sent; the third one is held, in a database that went back.
	exec(t, db, `WITH gone AS (DELETE FROM outbox WHERE id::text LIKE '%2' RETURNING *) INSERT INTO outbox_sent SELECT * FROM gone`)
	exec(t, db, `WITH gone AS (DELETE FROM outbox WHERE id::text LIKE '%3' RETURNING *) INSERT INTO outbox_held SELECT * FROM gone`)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, stage, error)
		SELECT id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, 'worker', 'e' FROM outbox_held`) // so that it counts as known
	id := func(n byte) domain.ID { return domain.ID{6: 0x70, 8: 0x80, 15: n} }
	events := repository.NewAcknowledgedEvents(db)
	acknowledge := func(position string, want int64, list ...domain.Acknowledgement) {
		t.Helper()
		if n, err := events.Acknowledge(t.Context(), list, position); err != nil || n != want {
			t.Errorf("%d events are confirmed, %v, want %d", n, err, want)
		}
		if at, err := events.Position(t.Context()); err != nil || at != position {
			t.Errorf("the position is %q, %v, want %q", at, err, position)
		}
	}
	if at, err := events.Position(t.Context()); err != nil || at != "" {
		t.Errorf("the position is %q at first, %v", at, err)
	}
	acknowledge("1-0", 0)
	acknowledge("2-0", 0, domain.Acknowledgement{EventID: id(1), Type: "b", Queue: "q"}, domain.Acknowledgement{EventID: id(2), Type: "a", Queue: "p"},
		domain.Acknowledgement{EventID: id(9), Type: "a", Queue: "q"}, domain.Acknowledgement{EventID: id(1), Type: "a\x00\xff", Queue: "q"})
	one := domain.Acknowledgement{EventID: id(1), Type: "a", Queue: "q"}
	two, held := domain.Acknowledgement{EventID: id(2), Type: "a", Queue: "q"}, domain.Acknowledgement{EventID: id(3), Type: "a", Queue: "q"}
	acknowledge("3-0", 2, held, one, one, two)
	acknowledge("4-0", 0, one, two)
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 2 {
		t.Errorf("%d events are confirmed, want 2", n)
	}
}
