package repository_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
)

// wantAccounted fails the test unless the account adds up and has counted this many repeats.
func wantAccounted(t *testing.T, db *postgres.Database, repeated int64) {
	t.Helper()
	lines, err := search.NewAuditor(db).Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, l := range lines {
		sum += l.Repeated
		if l.Difference() != 0 {
			t.Errorf("the account has %+v", l)
		}
	}
	if sum != repeated {
		t.Errorf("%d repeats were absorbed, want %d", sum, repeated)
	}
}

// emitAgain writes an event again that is already in a table. A producer does so if it does not know
// whether its first attempt succeeded.
func emitAgain(t *testing.T, db *postgres.Database, table string) {
	t.Helper()
	exec(t, db, "INSERT INTO outbox (id, event_type, payload) SELECT id, event_type, payload FROM "+table)
}

// An event that was written again while it was on its way goes back to the outbox once, or not at all
// while the repeat waits there.
func TestARepeatGoesBackOnce(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(*testing.T, *postgres.Database, *repository.Outbox, domain.ID) (int64, error){
		"all": func(t *testing.T, db *postgres.Database, _ *repository.Outbox, _ domain.ID) (int64, error) {
			return heal.NewRedriver(db).Redrive(t.Context(), time.Hour)
		},
		"one": func(t *testing.T, db *postgres.Database, _ *repository.Outbox, id domain.ID) (int64, error) {
			return heal.NewMissingEvents(db).Resend(t.Context(), []domain.ID{id}, "it is missing")
		},
	} {
		for _, waiting := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", a repeat waits: ", waiting), func(t *testing.T) {
				t.Parallel()
				db, store := repositorytest.Outbox(t)
				emit(t, db, 1)
				id := find(t, db, "test:1")
				relayAll(t, store)
				emitAgain(t, db, "outbox_sent")
				want := int64(0) // while the repeat waits in the outbox, nothing goes back
				if !waiting {
					relayAll(t, store)
					want = 1
				}
				wantAccounted(t, db, 0)
				if n, err := back(t, db, store, id); err != nil || n != want {
					t.Errorf("%d events go back, %v, want %d", n, err, want)
				}
				if n := count(t, db, "SELECT count(*) FROM outbox"); n != 1 {
					t.Errorf("%d rows wait, want 1", n)
				}
				wantAccounted(t, db, 1)
			})
		}
	}
}

// A dead event that is written again dies again.
func TestARepeatOfADeadEventIsAccountedFor(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 1)
	die := func() {
		t.Helper()
		if err := claim(t, store, 1).Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: errors.New("refused")}}); err != nil {
			t.Fatal(err)
		}
	}
	die()
	emitAgain(t, db, "outbox_dead")
	die()
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	wantAccounted(t, db, 1)
}
