package repository_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// The history has some days, in which almost all events are confirmed. There are dead
// letters with their journal, and older events whose days have no partitions.
const (
	longSent  = 200_000
	longDead  = 60_000
	longStray = 60_000

	sentSQL = `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT outbox_new_id(), 'test:long', '', '{}', 'default', now(), 0, 0, sent, sent
		FROM generate_series(1, $1::int) n, LATERAL (SELECT now() - $2 * interval '1 day' - n * interval '1 second') AS at (sent)`
	confirmSQL = `INSERT INTO inbox (event_id) SELECT id FROM outbox_sent ORDER BY sent_at DESC OFFSET $1`
	deadSQL    = `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'test:long', '', '{}', 'default', now(), 1, 0, now() - interval '20 days', 'worker', 'no' FROM generate_series(1, $1::int)`
	diedSQL = `INSERT INTO outbox_journal (event_id, at, stage, entry, generation)
		SELECT id, now() - interval '20 days' + n * interval '1 second', 'worker', 'died', 0 FROM (SELECT id, row_number() OVER () AS n FROM outbox_dead) AS dead`
	emittedSQL = `INSERT INTO outbox_entries (event_type, created_at) SELECT event_type, created_at FROM outbox_sent UNION ALL SELECT event_type, created_at FROM outbox_dead`
)

// Work that grows with the data needs no long timeout, because each statement
// reads one piece of a table at most. Such work is healing, counting, folding,
// trimming, dropping a partition, and verifying. In this test a piece is a large
// part of the tables, so PostgreSQL would rather read some of them whole. The
// settings tell it that rows are expensive.
func TestLongWorkIsDoneInPieces(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	w := newLongWork(t, server)
	w.prepare()
	executed := repositorytest.LogPlans(t, server)
	for _, setting := range []string{"cpu_tuple_cost = 10", "max_parallel_workers_per_gather = 0"} {
		exec(t, w.db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ', current_database()) || '"+setting+"'; END $$")
	}
	w.quiet, w.db = w.db, schematest.Connect(t, server.URL())
	w.house = upkeep.NewHousekeeping(w.db, "")
	for _, step := range []struct {
		name string
		work func()
	}{
		{"count", w.count}, {"heal", w.heal}, {"fold", w.fold}, {"verify", w.verify}, {"keep", w.keep}, {"drop", w.drop}, {"verify what is left", w.verify}, {"trim", w.trim},
	} {
		step.work()
		statement, table, rows := executed.Largest()
		t.Logf("%s: at most %.0f rows in steps of %s", step.name, rows, table)
		if rows > 1.1*postgres.LargestPiece { // a piece of the account's entries is about as large
			t.Errorf("%s: one statement meets %.0f rows in steps of %s:\n%s", step.name, rows, table, statement)
		}
	}
}

// longWork is work on far more rows than one statement may read.
type longWork struct {
	t     *testing.T
	db    *postgres.Database
	quiet *postgres.Database // its statements do not count
	house *upkeep.Housekeeping
}

const (
	longAgo  = 100 * 24 * time.Hour
	longLost = 7
)

func newLongWork(t *testing.T, server *postgrestest.Server) *longWork {
	t.Helper()
	db := schematest.Connect(t, server.URL())
	return &longWork{t: t, db: db, house: upkeep.NewHousekeeping(db, "")}
}

func (w *longWork) prepare() {
	w.t.Helper()
	migrate(w.t, w.db)
	if err := w.house.KeepPartitions(w.t.Context(), longAgo); err != nil {
		w.t.Fatal(err)
	}
	for _, ago := range []int{1, 2, 3} { // KeepPartitions makes none for past days; early in the day the events begin three days ago
		day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -ago)
		exec(w.t, w.db, `CREATE TABLE outbox_sent_`+day.Format("20060102")+` PARTITION OF outbox_sent FOR VALUES FROM ('`+day.Format(time.RFC3339)+`') TO ('`+day.AddDate(0, 0, 1).Format(time.RFC3339)+`')`)
	}
	exec(w.t, w.db, "ALTER TABLE inbox DISABLE TRIGGER USER")
	exec(w.t, w.db, sentSQL, longSent, 0)
	exec(w.t, w.db, confirmSQL, longLost)
	exec(w.t, w.db, deadSQL, longDead)
	exec(w.t, w.db, diedSQL)
	exec(w.t, w.db, emittedSQL)
	exec(w.t, w.db, "ALTER TABLE inbox ENABLE TRIGGER USER; ANALYZE")
}

func (w *longWork) count() {
	if n, _, err := heal.NewRedriver(w.db).CountRedrive(w.t.Context(), heal.RedriveFilter{Since: longAgo}); err != nil || n != longLost {
		w.t.Errorf("CountRedrive: %d, %v, want %d", n, err, longLost)
	}
}

func (w *longWork) heal() {
	if n, err := heal.NewRedriver(w.db).Redrive(w.t.Context(), longAgo); err != nil || n != longLost {
		w.t.Errorf("Redrive: %d, %v, want %d", n, err, longLost)
	}
}

func (w *longWork) fold() {
	if n, err := w.house.FoldAccount(w.t.Context()); err != nil || n != longSent+longDead {
		w.t.Errorf("FoldAccount: %d, %v", n, err)
	}
}

func (w *longWork) verify() {
	w.t.Helper()
	ctx, auditor := w.t.Context(), search.NewAuditor(w.db)
	lines, err := auditor.Account(ctx)
	if err != nil || len(lines) == 0 {
		w.t.Errorf("Account: %d lines, %v", len(lines), err)
	}
	for _, l := range lines {
		if l.Difference() != 0 {
			w.t.Errorf("the account has %+v", l)
		}
	}
	if broken, err := auditor.Violations(ctx, nil, 10); err != nil || len(broken) != 0 {
		w.t.Errorf("Violations: %+v, %v", broken, err)
	}
	if events, err := auditor.Unconfirmed(ctx, domain.ID{}, 10, nil); err != nil || len(events) != 0 {
		w.t.Errorf("Unconfirmed: %+v, %v", events, err)
	}
}

// keep keeps the partitions. It must leave the rows of days without a partition,
// which are not old enough.
func (w *longWork) keep() {
	exec(w.t, w.quiet, sentSQL, longStray, 10)
	exec(w.t, w.quiet, "INSERT INTO outbox_entries (event_type, created_at) SELECT event_type, created_at FROM outbox_sent_default")
	exec(w.t, w.quiet, "ANALYZE outbox_sent_default")
	if err := w.house.KeepPartitions(w.t.Context(), longAgo); err != nil {
		w.t.Errorf("KeepPartitions: %v", err)
	}
	if n := count(w.t, w.quiet, "SELECT count(*) FROM outbox_sent"); n != longSent-longLost+longStray {
		w.t.Errorf("the history has %d events, want %d", n, longSent-longLost+longStray)
	}
}

func (w *longWork) drop() {
	if err := w.house.KeepPartitions(w.t.Context(), 20*time.Hour); err != nil {
		w.t.Errorf("KeepPartitions: %v", err)
	}
	if n := count(w.t, w.quiet, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass`); n > 10 {
		w.t.Errorf("%d partitions are left", n)
	}
}

// trim trims the inbox and the journal. It must leave the entries of dead letters.
func (w *longWork) trim() {
	exec(w.t, w.quiet, `UPDATE inbox SET processed_at = now() - interval '30 days' WHERE event_id IN (SELECT event_id FROM inbox LEFT JOIN outbox_sent s ON s.id = event_id WHERE s.id IS NULL LIMIT 1000)`)
	exec(w.t, w.quiet, `INSERT INTO outbox_journal (event_id, at, stage, entry, generation) SELECT outbox_new_id(), now() - interval '1 hour', 'relay', 'refused', 0 FROM generate_series(1, 1000)`)
	for _, want := range []int64{600, 400} {
		if n, err := w.house.TrimInbox(w.t.Context(), 30*time.Minute, 600); err != nil || n != want {
			w.t.Errorf("TrimInbox: %d, %v, want %d", n, err, want)
		}
	}
	if n := count(w.t, w.quiet, "SELECT count(*) FROM outbox_journal WHERE entry = 'died'"); n != longDead {
		w.t.Errorf("the journal has %d entries of dead letters, want %d", n, longDead)
	}
}
