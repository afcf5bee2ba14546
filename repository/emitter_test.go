package repository_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
)

func limitPayload(t *testing.T, db *postgres.Database, limit int) {
	t.Helper()
	if _, err := migrations.LimitPayload(t.Context(), db.SQL(), limit, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEmitSaysThePayloadLimitInForce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	for _, test := range []struct {
		limit int
		want  string
	}{{1 << 20, "1,048,577 bytes, and the outbox takes at most 1 MiB"}, {3 << 10, "at most 3 KiB"}, {1500, "at most 1500 bytes"}} {
		limitPayload(t, db, test.limit)
		emitOne := func(bytes int) error {
			tx := repository.Begin(t.Context(), db)
			defer tx.Rollback()
			return repository.NewEmitter(tx, db.Schema()).Emit(t.Context(), &domain.Event{Type: "test:a", Payload: make([]byte, bytes)})
		}
		if err := emitOne(test.limit); err != nil {
			t.Errorf("%d bytes: %v", test.limit, err)
		}
		if err := emitOne(test.limit + 1); domain.ErrorCode(err) != domain.CodeTooLarge || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d bytes: %v, want %q", test.limit+1, err, test.want)
		}
	}
}

// After the limit on payloads was lowered, a relay takes larger events out of the outbox, and puts
// two back. The new limit must stop neither these events nor an event that goes back from the
// history.
func TestEventsBeyondALoweredLimitGoOn(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{true, false} {
		db := schematest.Open(t)
		store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
		exec(t, db, `INSERT INTO outbox (event_type, payload) SELECT 'test:'||n, convert_to(repeat('x', 100000), 'UTF8') FROM generate_series(1, 3) n`)
		batch := claim(t, store, 2)
		settle := func(outcomes ...domain.Outcome) {
			t.Helper()
			if err := batch.Commit(t.Context(), outcomes); err != nil {
				t.Fatalf("history %t: %v", history, err)
			}
		}
		settle(domain.Outcome{Verdict: domain.Delivered}, domain.Outcome{})
		limitPayload(t, db, 1<<10)
		batch = claim(t, store, 2)
		settle(domain.Outcome{}, domain.Outcome{Verdict: domain.Refused, Err: errors.New("busy")})
		if n := count(t, db, "SELECT count(*) FROM outbox"); n != 2 {
			t.Errorf("history %t: %d events are in the outbox, want 2", history, n)
		}
		if !history {
			continue
		}
		if n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour); err != nil || n != 1 {
			t.Errorf("Redrive: %d, %v, want 1", n, err)
		}
	}
}
