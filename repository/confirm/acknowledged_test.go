package confirm_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
)

// markOf returns the mark of the outbox in db.
func markOf(t *testing.T, db *postgres.Database) (mark string) {
	t.Helper()
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT outbox_mark()").Scan(&mark); err != nil || mark == "" {
		t.Fatalf("the mark is %q, %v", mark, err)
	}
	return mark
}

// A copy of an outbox has the same events, another mark, and confirms nothing by the acknowledgements of the original.
func TestACopyHasAMarkOfItsOwn(t *testing.T) {
	t.Parallel()
	address := servertest.Database(t)
	db := schematest.Connect(t, address)
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, queue) VALUES ('00000000-0000-7000-8000-000000000001', 'a', '', 'q')`)
	mark := markOf(t, db)
	db.Close()
	original, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(original.Path, "/")
	servertest.Execute(t, servertest.Database(t), fmt.Sprintf("CREATE DATABASE %q TEMPLATE %q", name+"_copy", name))
	original.Path += "_copy"
	again, copied := schematest.Connect(t, address), schematest.Connect(t, original.String())
	if m := markOf(t, again); m != mark {
		t.Errorf("the original's mark was %s, and is %s", mark, m)
	}
	if m := markOf(t, copied); m == mark {
		t.Errorf("the copy has the original's mark %s", m)
	}
	for _, test := range []struct {
		db   *postgres.Database
		want int64
	}{{copied, 0}, {again, 1}} {
		batch, err := repository.NewOutbox(test.db, repository.OutboxOptions{}).Claim(t.Context(), domain.Cursor{}, 10)
		if err != nil || len(batch.Events()) != 1 || batch.Events()[0].Outbox != markOf(t, test.db) {
			t.Fatalf("claimed %v, %v", batch, err)
		}
		if err := batch.Release(); err != nil {
			t.Fatal(err)
		}
		list := []domain.Acknowledgement{{EventID: batch.Events()[0].ID, Type: "a", Queue: "q", Outbox: mark}}
		if n, _, err := confirm.NewAcknowledgedEvents(test.db).Acknowledge(t.Context(), list, "", "1-0"); err != nil || n != test.want {
			t.Errorf("%d events are confirmed, %v, want %d", n, err, test.want)
		}
	}
}

// A claim on the same connection asks for the mark once, and again if the outbox has another name.
func TestAClaimAsksForTheMarkOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	execute := func(sql string) {
		t.Helper()
		if _, err := db.SQL().ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	execute(`INSERT INTO outbox (event_type, payload) VALUES ('a', '{}')`)
	execute(`CREATE SEQUENCE asked`)
	execute(`CREATE OR REPLACE FUNCTION outbox_mark() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT 'mark ' || nextval('asked') $$`)
	store := repository.NewOutbox(db, repository.OutboxOptions{})
	marks := map[string]int{}
	claim := func() {
		t.Helper()
		batch, err := store.Claim(t.Context(), domain.Cursor{}, 10)
		if err != nil || len(batch.Events()) != 1 {
			t.Fatalf("claimed %v, %v", batch, err)
		}
		marks[batch.Events()[0].Outbox]++
		if err := batch.Release(); err != nil {
			t.Fatal(err)
		}
	}
	claim()
	claim()
	if marks["mark 1"] != 2 {
		t.Errorf("claims had the marks %v, want one twice", marks)
	}
	execute(`UPDATE outbox_queue_identity SET name = gen_random_uuid()`)
	claim()
	if marks["mark 2"] != 1 {
		t.Errorf("claims of an outbox with another name had the marks %v", marks)
	}
}

// If the database may have gone back, no acknowledgement confirms an event before the leader has noted that.
// Acknowledgements from before are then skipped, because the consumers' databases may have gone back too.
func TestWhatWasAcknowledgedBeforeARestoreIsSkipped(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	events, memory := confirm.NewAcknowledgedEvents(db), heal.NewQueueMemory(db)
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, queue) VALUES ('00000000-0000-7000-8000-000000000001', 'a', '', 'q')`)
	list := []domain.Acknowledgement{{EventID: domain.ID{6: 0x70, 8: 0x80, 15: 1}, Type: "a", Queue: "q", Outbox: markOf(t, db)}}
	exec(t, db, "UPDATE outbox_queue_identity SET acknowledged = '1-0', timeline = '000000FE'")
	refused := func(after string) {
		t.Helper()
		if n, _, err := events.Acknowledge(t.Context(), list, after, "2-0"); n != 0 || domain.ErrorCode(err) != domain.CodeConflict {
			t.Errorf("%d events are confirmed, %v", n, err)
		}
	}
	refused("1-0")
	if err := memory.Doubt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, err := events.Position(t.Context()); err != nil || at != "end" {
		t.Errorf("the position is %q, %v", at, err)
	}
	if n, _, err := events.Acknowledge(t.Context(), nil, "end", "5-0"); err != nil || n != 0 {
		t.Errorf("%d events are confirmed, %v", n, err)
	}
	refused("5-0") // the leader has not finished
	is, err := memory.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := memory.RememberDatabase(t.Context(), is, time.Hour); err != nil {
		t.Fatal(err)
	}
	refused("1-0") // what was read before
	if n, _, err := events.Acknowledge(t.Context(), list, "5-0", "6-0"); err != nil || n != 1 {
		t.Errorf("%d events are confirmed, %v", n, err)
	}
}

// An acknowledgement confirms an event of outbox or outbox_sent, once, if it has the event's type and queue, and the
// outbox's mark or none. It does not confirm a held event without the turn.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, queue, ordering_key) VALUES
		('00000000-0000-7000-8000-000000000001', 'a', '', 'q', NULL), ('00000000-0000-7000-8000-000000000002', 'a', '', 'q', NULL),
		('00000000-0000-7000-8000-000000000003', 'a', '', 'q', 'k')`)
	// The second event is in the history. The third one is held and dead, as after a database went back.
	exec(t, db, `WITH gone AS (DELETE FROM outbox WHERE id::text LIKE '%2' RETURNING *) INSERT INTO outbox_sent SELECT * FROM gone`)
	exec(t, db, `WITH gone AS (DELETE FROM outbox WHERE id::text LIKE '%3' RETURNING *) INSERT INTO outbox_held SELECT * FROM gone`)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, stage, error)
		SELECT id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position, 'worker', 'e' FROM outbox_held`) // so that it counts as known
	id := func(n byte) domain.ID { return domain.ID{6: 0x70, 8: 0x80, 15: n} }
	events := confirm.NewAcknowledgedEvents(db)
	before := ""
	acknowledge := func(position string, want int64, list ...domain.Acknowledgement) {
		t.Helper()
		n, _, err := events.Acknowledge(t.Context(), list, before, position)
		before = position
		if err != nil || n != want {
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
		domain.Acknowledgement{EventID: id(9), Type: "a", Queue: "q"}, domain.Acknowledgement{EventID: id(1), Type: "a\x00\xff", Queue: "q"},
		domain.Acknowledgement{EventID: id(1), Type: "a", Queue: "q", Outbox: "another"}, domain.Acknowledgement{EventID: id(1), Type: "a", Queue: "q", Outbox: "\x00"})
	one := domain.Acknowledgement{EventID: id(1), Type: "a", Queue: "q", Outbox: markOf(t, db)}
	two, held := domain.Acknowledgement{EventID: id(2), Type: "a", Queue: "q"}, domain.Acknowledgement{EventID: id(3), Type: "a", Queue: "q"}
	acknowledge("3-0", 2, held, one, one, two)
	acknowledge("4-0", 0, one, two)
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 2 {
		t.Errorf("%d events are confirmed, want 2", n)
	}
}
