package repository_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/heal"
	"outboxd/repository/upkeep"
)

// Tables for which the worker's connections have plans are changed, or the
// plans are discarded.
func TestAnEffectIsBegunAnewWhenATableWasChanged(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db, worker := schematest.Connect(t, url), schematest.Connect(t, url)
	exec(t, db, "CREATE TABLE letters (number integer PRIMARY KEY, text text, sent boolean)")
	exec(t, db, "INSERT INTO letters VALUES (1, 'Welcome!', false)")
	type letter struct {
		Number int
		Text   string
	}
	inbox := confirm.NewInbox(worker)
	process := func(t *testing.T) {
		t.Helper()
		for range 3 {
			var id domain.ID
			if err := db.SQL().QueryRowContext(t.Context(), "SELECT outbox_new_id()").Scan(&id); err != nil {
				t.Fatal(err)
			}
			first, err := inbox.Process(t.Context(), id, func(ctx context.Context, effects domain.Effects) error {
				var found letter
				read := confirm.TransactionOf(effects).WithContext(ctx).Take(&found, "number = ?", 1).Error
				_, err := effects.Tx().ExecContext(ctx, "UPDATE letters SET sent = true WHERE number = $1", 1)
				return errors.Join(read, err)
			})
			if err != nil || !first {
				t.Errorf("first %t, %v", first, err)
			}
		}
	}
	process(t)
	for n, change := range []string{
		"ALTER TABLE letters ADD COLUMN mine integer",
		"ALTER TABLE letters ALTER COLUMN text TYPE varchar(500)",
		"ALTER TABLE letters ALTER COLUMN number TYPE bigint",
		"DEALLOCATE ALL",
	} {
		exec(t, worker, change)
		t.Run(fmt.Sprint(n, " ", change), process)
	}
}

// A person changes outboxd's own tables while a relay works. All events are
// relayed all the same.
func TestARelayGoesOnWhileItsTablesAreChanged(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db, relay := schematest.Connect(t, url), schematest.Connect(t, url)
	store := repository.NewOutbox(relay, repository.OutboxOptions{History: true})
	house := upkeep.NewHousekeeping(relay, "")
	refuse := func(t *testing.T, batch domain.Batch) {
		t.Helper()
		outcomes := make([]domain.Outcome, len(batch.Events()))
		for i := range outcomes {
			outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: errors.New("no")}
		}
		if err := batch.Commit(t.Context(), outcomes); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	work := func(t *testing.T) {
		t.Helper()
		emit(t, db, 5)
		emitKeyed(t, db, "a1", "a2")
		refuse(t, claim(t, store, 10))
		relayAll(t, store)
		confirmEvent(t, db, "a1")
		if err := house.KeepPartitions(t.Context(), 1); err != nil {
			t.Errorf("partitions: %v", err)
		}
		if _, err := house.FoldAccount(t.Context()); err != nil {
			t.Errorf("account: %v", err)
		}
		if _, err := heal.NewRedriver(relay).Redrive(t.Context(), 3600e9); err != nil {
			t.Errorf("redrive: %v", err)
		}
		relayAll(t, store)
		exec(t, db, "INSERT INTO inbox SELECT DISTINCT id FROM outbox_sent ON CONFLICT DO NOTHING")
		relayAll(t, store)
		exec(t, db, "INSERT INTO inbox SELECT DISTINCT id FROM outbox_sent ON CONFLICT DO NOTHING")
		if n := count(t, db, "SELECT count(*) FROM outbox") + count(t, db, "SELECT count(*) FROM outbox_held"); n != 0 {
			t.Errorf("%d events are left", n)
		}
	}
	work(t)
	for _, change := range []string{
		"ALTER TABLE outbox ADD COLUMN mine text",
		"ALTER TABLE outbox_sent ADD COLUMN mine text DEFAULT 'x'",
		"ALTER TABLE outbox_held ADD COLUMN mine text",
		"ALTER TABLE outbox_dead ADD COLUMN mine text",
		"ALTER TABLE inbox ADD COLUMN mine text",
		"ALTER TABLE outbox_entries ADD COLUMN mine text",
		"ALTER TABLE outbox_sent DROP COLUMN mine",
		"ALTER TABLE outbox DROP COLUMN mine",
		"CREATE INDEX mine ON outbox (event_type)",
		"ALTER TABLE outbox ALTER COLUMN queue TYPE varchar(255)",
	} {
		exec(t, relay, change)
		t.Run(change, work)
	}
}
