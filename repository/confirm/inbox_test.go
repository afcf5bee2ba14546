package confirm_test

import (
	"context"
	"errors"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/confirm"
)

func TestInboxLetsAnEffectHappenOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "CREATE TABLE effects (way text)")
	inbox, id, runs := confirm.NewInbox(db), domain.ID{7}, 0
	// A handler may use either form of the transaction, or both.
	effect := func(ctx context.Context, tx domain.Effects) error {
		runs++
		_, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES ('plain')")
		return errors.Join(err, confirm.TransactionOf(tx).WithContext(ctx).Exec("INSERT INTO effects VALUES ('gorm')").Error)
	}

	failure := errors.New("the mail server hung up")
	first, err := inbox.Process(t.Context(), id, func(ctx context.Context, tx domain.Effects) error {
		return errors.Join(effect(ctx, tx), failure)
	})
	if !first || !errors.Is(err, failure) {
		t.Errorf("a failing effect: %t, %v", first, err)
	}
	if n := count(t, db, "SELECT count(*) FROM effects"); n != 0 {
		t.Error("a failed effect was kept")
	}
	for _, want := range []bool{true, false, false} {
		if first, err := inbox.Process(t.Context(), id, effect); err != nil || first != want {
			t.Errorf("Process: %t, %v, want %t", first, err, want)
		}
	}
	if runs != 2 {
		t.Errorf("the effect ran %d times, want 2: one failure, one success", runs)
	}
	for _, way := range []string{"plain", "gorm"} {
		if n := count(t, db, "SELECT count(*) FROM effects WHERE way = $1", way); n != 1 {
			t.Errorf("%d effects through the %s transaction, want 1", n, way)
		}
	}
}

// Asking the inbox leaves no trace: neither a row nor a connection.
func TestInboxAnswersWithoutATrace(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	inbox, id := confirm.NewInbox(db), domain.ID{7, 1}
	for range 2 {
		if first, err := inbox.Ask(t.Context(), id); !first || err != nil {
			t.Fatalf("before: %t, %v", first, err)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 0 || db.Pool().Stat().AcquiredConns() != 0 {
		t.Errorf("%d rows, %d connections are left", n, db.Pool().Stat().AcquiredConns())
	}
	if _, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if first, err := inbox.Ask(t.Context(), id); first || err != nil {
		t.Errorf("after: %t, %v", first, err)
	}
}

// The second task of an event waits while the first one is undecided, and does
// nothing if the first one has succeeded.
func TestASecondDeliveryWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	inbox := confirm.NewInbox(db)
	id := domain.ID{8}
	inside, finish := make(chan struct{}), make(chan struct{})
	go func() {
		<-inside
		// Let the first task end only after the second one has been seen
		// waiting.
		for count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO inbox%' AND pid <> pg_backend_pid()
			AND $1::text = current_schema()`, db.Schema()) == 0 {
			if t.Context().Err() != nil {
				break
			}
		}
		close(finish)
	}()
	second := make(chan bool, 1)
	first, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error {
		go func() {
			first, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error {
				t.Error("the effect ran twice")
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			second <- first
		}()
		close(inside)
		<-finish
		return nil
	})
	if !first || err != nil {
		t.Errorf("the first delivery: %t, %v", first, err)
	}
	if <-second {
		t.Error("the second delivery believes to be the first")
	}
}
