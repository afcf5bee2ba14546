package upkeep_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// The function backlog returns a database in which, some minutes ago, a worker took a backlog of tickets from Redis
// within a second, while it confirmed one refund each 100 ms as before.
func backlog(t *testing.T, tickets int) *postgres.Database {
	t.Helper()
	db := schematest.Open(t)
	exec(t, db, "ALTER TABLE inbox DISABLE TRIGGER USER")
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), kind, 'x', '{}', kind, now(), 0, 0, now() FROM (SELECT 'refund' AS kind FROM generate_series(1, 3000) UNION ALL SELECT 'ticket' FROM generate_series(1, $1::int)) AS kinds`, tickets)
	exec(t, db, `INSERT INTO inbox SELECT id, date_trunc('minute', now()) - interval '1 minute' - n * interval '100 ms'
		FROM (SELECT id, row_number() OVER () AS n FROM outbox_sent WHERE queue = 'refund') AS refunds`)
	exec(t, db, `INSERT INTO inbox SELECT id, date_trunc('minute', now()) - interval '2 minutes' - n * interval '1 s' / $1
		FROM (SELECT id, row_number() OVER () AS n FROM outbox_sent WHERE queue = 'ticket') AS tickets`, tickets)
	// The leader measured before the backlog for the last time.
	exec(t, db, `INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died) VALUES (date_trunc('minute', now()) - interval '7 minutes', '', '', 60, 0, 0, 0)`)
	return db
}

// history returns the confirmations of a queue by the minute in which they happened, according to the figures and to
// the inbox. All minutes with confirmations must be marked as estimates, or none.
func history(t *testing.T, db *postgres.Database, queue string, estimated bool) (told, happened map[time.Time]int64) {
	t.Helper()
	told, happened = map[time.Time]int64{}, map[time.Time]int64{}
	points, err := search.NewFigures(db).History(t.Context(), "", queue, time.Hour, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		if p.Confirmed > 0 {
			told[p.At.UTC()] = p.Confirmed
		}
		if p.Estimated && !estimated || p.Confirmed > 0 && p.Estimated != estimated {
			t.Errorf("%s: %d confirmations at %v are marked as an estimate: %t", queue, p.Confirmed, p.At, p.Estimated)
		}
	}
	rows, err := db.Pool().Query(t.Context(), `SELECT date_trunc('minute', processed_at), count(*) FROM inbox WHERE event_id IN
		(SELECT id FROM outbox_sent WHERE queue = $1 UNION ALL SELECT id FROM outbox WHERE queue = $1) GROUP BY 1`, queue)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var at time.Time
		var n int64
		if err := rows.Scan(&at, &n); err != nil {
			t.Fatal(err)
		}
		happened[at.UTC()] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return told, happened
}

// Each confirmation is counted once and in its own minute, also if a backlog ends within a second, if no leader measured
// for minutes, and if a heal put the event back into the outbox.
func TestEachConfirmationIsCountedInItsMinute(t *testing.T) {
	t.Parallel()
	for name, measure := range map[string]func(*upkeep.Housekeeping) (more bool, err error){
		"at once":  func(h *upkeep.Housekeeping) (bool, error) { return false, h.MeasureTypes(t.Context(), nil) },
		"in spans": func(h *upkeep.Housekeeping) (bool, error) { return h.MeasureSpan(t.Context(), 700, 700) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := backlog(t, 5000)
			exec(t, db, `WITH healed AS (DELETE FROM outbox_sent WHERE id IN (SELECT id FROM outbox_sent LIMIT 1000) RETURNING id, event_type, queue)
				INSERT INTO outbox (id, event_type, payload, queue) SELECT id, event_type, 'x', queue FROM healed`)
			for more := true; more; { // each time by another leader
				var err error
				if more, err = measure(upkeep.NewHousekeeping(db, "")); err != nil {
					t.Fatal(err)
				}
			}
			for _, queue := range []string{"refund", "ticket"} {
				if told, happened := history(t, db, queue, false); !maps.Equal(told, happened) {
					t.Errorf("%s: the figures have %v, the inbox has %v", queue, told, happened)
				}
			}
		})
	}
}

// Of more confirmations than are looked up, the figures are estimates: all together are as many as there were, and no
// type has more because its events were confirmed all at once.
func TestFiguresOfABusyMinuteAreEstimates(t *testing.T) {
	t.Parallel()
	db := backlog(t, 20_000)
	if _, err := upkeep.NewHousekeeping(db, "").MeasureSpan(t.Context(), 50_000, 5_000); err != nil {
		t.Fatal(err)
	}
	tickets, _ := history(t, db, "ticket", true)
	refunds, happened := history(t, db, "refund", true)
	// A queue that had no event in the part that was looked at may have had some.
	points, err := search.NewFigures(db).History(t.Context(), "", "quiet", time.Hour, time.Hour)
	if err != nil || !slices.ContainsFunc(points, func(p figures.Point) bool { return p.Estimated }) {
		t.Errorf("%+v, %v", points, err)
	}
	sum := int64(0)
	for at, n := range refunds {
		sum += n + tickets[at]
		if n < happened[at]/2 || n > happened[at]*2 {
			t.Errorf("%d refunds within a minute, there were %d", n, happened[at])
		}
	}
	if sum < 22_990 || sum > 23_010 { // each count is rounded
		t.Errorf("%d confirmations, there were 23,000", sum)
	}
}

// A confirmation or a death becomes visible long after its transaction began. Meanwhile the leader measured until after
// that beginning.
func TestWhatALongTransactionDidCounts(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	// Every transaction counts as long.
	exec(t, db, `DO $$ BEGIN EXECUTE replace(pg_get_functiondef('outbox_confirmed'::regproc), '5 seconds', '0 seconds'); END $$`)
	repositorytest.Emit(t, db, 1)
	id := repositorytest.Find(t, db, "test:1")
	repositorytest.RelayAll(t, store)
	handler := db.GORM().WithContext(t.Context()).Begin()
	if err := handler.Exec("SELECT outboxd.confirm(?)", id.String()).Error; err != nil {
		t.Fatal(err)
	}
	repositorytest.Emit(t, db, 1)
	batch := repositorytest.Claim(t, store, 1)
	exec(t, db, "INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died) VALUES (clock_timestamp(), '', '', 60, 0, 0, 0)")
	if err := errors.Join(handler.Commit().Error, batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: errors.New("no")}})); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM inbox WHERE began_at < processed_at"); n != 1 {
		t.Errorf("%d confirmations know when their transaction began, want 1", n)
	}
	// Time passes until the leader measures again.
	exec(t, db, "UPDATE inbox SET processed_at = processed_at - interval '1 minute'")
	exec(t, db, "UPDATE outbox_dead SET died_at = died_at - interval '1 minute'")
	exec(t, db, "UPDATE outbox_type_samples SET at = at - interval '1 minute'")
	if err := upkeep.NewHousekeeping(db, "").MeasureTypes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT sum(confirmed) FROM outbox_type_samples"); n != 1 {
		t.Errorf("%d confirmations, want 1", n)
	}
	if n := count(t, db, "SELECT sum(died) FROM outbox_type_samples"); n != 1 {
		t.Errorf("%d deaths, want 1", n)
	}
}
