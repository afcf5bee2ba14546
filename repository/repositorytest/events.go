package repositorytest

import (
	"errors"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// Outbox returns a migrated database of the test's own, and its outbox, which keeps the
// history.
func Outbox(t testing.TB) (*postgres.Database, *repository.Outbox) {
	t.Helper()
	db := schematest.Open(t)
	return db, repository.NewOutbox(db, repository.OutboxOptions{History: true})
}

// Emit writes n events that are due, the oldest first.
func Emit(t testing.TB, db *postgres.Database, n int) {
	t.Helper()
	Exec(t, db, `INSERT INTO outbox (event_type, payload, available_at)
		SELECT 'test:'||n, convert_to(n::text, 'UTF8'), now() - ($1 - n) * interval '1 ms' FROM generate_series(1, $1) n`, n)
}

// EmitKeyed writes one event for each name, such as "a1". The ordering key is the first
// letter of the name.
func EmitKeyed(t testing.TB, db *postgres.Database, names ...string) {
	t.Helper()
	for _, name := range names {
		Exec(t, db, "SELECT outboxd.emit($1, '{}', ordering_key => left($1, 1))", name)
	}
}

// Claim claims up to limit due events, from the beginning of the outbox. At the end of
// the test, Claim releases the batch if it is still open.
func Claim(t testing.TB, store *repository.Outbox, limit int) domain.Batch {
	t.Helper()
	batch, err := store.Claim(t.Context(), domain.Cursor{}, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = batch.Release() })
	return batch
}

// ClaimEvents claims again and again until a batch has events or nothing is left to
// claim.
func ClaimEvents(t testing.TB, store *repository.Outbox) domain.Batch {
	t.Helper()
	for {
		if batch := Claim(t, store, 100); len(batch.Events()) > 0 || !batch.Full() && !batch.Advanced() {
			return batch
		}
	}
}

// Deliver commits a batch as if all of its events were published.
func Deliver(t testing.TB, batch domain.Batch) {
	t.Helper()
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i := range outcomes {
		outcomes[i].Verdict = domain.Delivered
	}
	if err := batch.Commit(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
}

// RelayAll claims all due events and commits them as published. RelayAll returns the
// types of the events in the order in which they were claimed.
func RelayAll(t testing.TB, store *repository.Outbox) string {
	t.Helper()
	var went []string
	for {
		batch := ClaimEvents(t, store)
		if len(batch.Events()) == 0 {
			return strings.Join(went, " ")
		}
		went = append(went, Types(batch.Events()))
		Deliver(t, batch)
	}
}

// Die makes dead letters: it claims events and commits them as dead, as a relay does.
func Die(t testing.TB, store *repository.Outbox, why string) {
	t.Helper()
	batch := ClaimEvents(t, store)
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i := range outcomes {
		outcomes[i] = domain.Outcome{Verdict: domain.Dead, Err: errors.New(why)}
	}
	if err := batch.Commit(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
}

// Confirm confirms the event of a type, as a consumer does in its transaction.
func Confirm(t testing.TB, db *postgres.Database, name string) {
	t.Helper()
	Exec(t, db, `SELECT outboxd.confirm(id) FROM (SELECT id FROM outbox WHERE event_type = $1 UNION SELECT id FROM outbox_sent WHERE event_type = $1) AS e`, name)
}

// Find returns the ID of the event of a type, from the outbox, the history, the dead
// letters or the held events.
func Find(t testing.TB, db *postgres.Database, name string) domain.ID {
	t.Helper()
	var id domain.ID
	err := db.SQL().QueryRowContext(t.Context(), `SELECT id FROM (SELECT id, event_type FROM outbox UNION ALL SELECT id, event_type FROM outbox_sent
		UNION ALL SELECT id, event_type FROM outbox_dead UNION ALL SELECT id, event_type FROM outbox_held) AS e WHERE event_type = $1`, name).Scan(&id)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return id
}

// Types returns the types of the events in one line of text.
func Types(events []domain.Event) string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.Type
	}
	return strings.Join(list, " ")
}

// Balance compares two numbers: the events and deliveries that were emitted; and those
// that are in the outbox, held, in the history, dead, or counted in the account as gone.
// It fails the test if the numbers differ. It does not count suppressed and cancelled
// events, so a test that has some cannot use it.
func Balance(t testing.TB, db *postgres.Database) {
	t.Helper()
	if _, err := upkeep.NewHousekeeping(db, "").FoldAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	const sql = `
		SELECT coalesce(sum(emitted + deliveries), 0) - coalesce(sum(confirmed + unconfirmed + unrecorded + discarded + repeated), 0)
		       - (SELECT Count(*) FROM outbox) - (SELECT Count(*) FROM outbox_held) - (SELECT Count(*) FROM outbox_sent) - (SELECT Count(*) FROM outbox_dead)
		FROM outbox_account`
	if n := Count(t, db, sql); n != 0 {
		t.Errorf("%d events more were emitted than are accounted for", n)
	}
}
