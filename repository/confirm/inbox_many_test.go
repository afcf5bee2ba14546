package confirm_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/confirm"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
)

// One call of confirm_many has every possible answer. Only the events that are new take effect.
func TestManyAnswersAtOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	inbox, memory := confirm.NewInbox(db), heal.NewQueueMemory(db)
	exec(t, db, "CREATE TABLE effects (event_id uuid)")
	is, err := memory.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := memory.RememberDatabase(t.Context(), is, time.Hour); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "UPDATE outbox_queue_identity SET history_since = history_since - interval '2 hours'")
	id := func(query string) (id domain.ID) {
		t.Helper()
		if err := db.SQL().QueryRowContext(t.Context(), query).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	const emit = "SELECT outboxd.emit('t', '{}')"
	ids := []domain.ID{
		id(emit), id(emit), id(emit), id("SELECT outboxd.emit('t', '{}', ordering_key => 'k')"), id("SELECT outbox_new_id()"), id(emit),
	}
	exec(t, db, "SELECT outboxd.confirm($1)", ids[1])
	exec(t, db, "SELECT outboxd.cancel($1)", ids[2])
	if err := memory.Doubt(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []domain.Confirmation{{First: true}, {}, {}, {Err: domain.ErrTooEarly}, {Err: domain.ErrUnknownEvent}, {First: true}}
	same := func(got []domain.Confirmation) bool {
		return slices.EqualFunc(got, want, func(a, b domain.Confirmation) bool { return a.First == b.First && errors.Is(a.Err, b.Err) })
	}
	for range 2 { // a question changes nothing
		if got, err := inbox.AskAll(t.Context(), ids); err != nil || !same(got) {
			t.Fatalf("asked: %+v, %v", got, err)
		}
	}
	failure := errors.New("the third of them is no good")
	for _, outcome := range []error{failure, nil} {
		got, err := inbox.ProcessAll(t.Context(), ids, func(ctx context.Context, tx domain.Effects, first []domain.ID) error {
			if !slices.Equal(first, []domain.ID{ids[0], ids[5]}) {
				t.Errorf("these take effect: %v", first)
			}
			for _, id := range first {
				if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES ($1)", id); err != nil {
					return err
				}
			}
			return outcome
		})
		if !errors.Is(err, outcome) || outcome == nil && !same(got) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM effects JOIN inbox USING (event_id)"); n != 2 {
		t.Errorf("%d effects, want 2", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'unknown'"); n != 1 {
		t.Errorf("%d entries of unknown events, want 1", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outboxd.confirm_many(NULL) UNION ALL SELECT count(*) FROM outboxd.confirm_many(ARRAY[NULL]::uuid[]) ORDER BY 1 DESC LIMIT 1"); n != 0 {
		t.Errorf("%d answers about no event", n)
	}
}

// Two transactions that confirm the same events, each in another order, follow one
// another: the second finds what the first did.
func TestTwoThatConfirmManyFollowOneAnother(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	inbox := confirm.NewInbox(db)
	var ids []domain.ID
	for n := range 40 {
		ids = append(ids, domain.ID{1, 15: byte(n + 1)})
	}
	began, release, second := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		<-began
		backwards := slices.Clone(ids)
		slices.Reverse(backwards)
		_, err := inbox.ProcessAll(t.Context(), backwards, func(context.Context, domain.Effects, []domain.ID) error {
			return errors.New("it took effect twice")
		})
		second <- err
	}()
	_, err := inbox.ProcessAll(t.Context(), ids, func(context.Context, domain.Effects, []domain.ID) error {
		close(began)
		repositorytest.AwaitWaiting(t, db)
		close(release)
		return nil
	})
	<-release
	if err := errors.Join(err, <-second); err != nil {
		t.Error(err)
	}
}

// A handler's last statement is sent with COMMIT. If the statement fails, the transaction
// did not commit.
func TestTheLastStatementGoesWithTheCommit(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	inbox, journal := confirm.NewInbox(db), confirm.NewDeliveryJournal(db)
	note := func(attempt int) func(context.Context, domain.Effects) error {
		return func(ctx context.Context, tx domain.Effects) error {
			return journal.Delivered(ctx, tx, domain.ID{9}, attempt, "taken")
		}
	}
	exec(t, db, "ALTER TABLE outbox_journal ADD CONSTRAINT no_seventh CHECK (attempt <> 7)")
	if _, err := inbox.Process(t.Context(), domain.ID{9}, note(7)); err == nil || !strings.Contains(err.Error(), "no_seventh") {
		t.Errorf("a statement that fails: %v", err)
	}
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 0 {
		t.Error("the event is confirmed without its last statement")
	}
	if first, err := inbox.Process(t.Context(), domain.ID{9}, note(1)); !first || err != nil {
		t.Errorf("then: %t, %v", first, err)
	}
	if n := count(t, db, "SELECT count(*) FROM inbox JOIN outbox_journal USING (event_id) WHERE entry = 'delivered'"); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}
