package repository_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// impatient ends every statement on a database that takes longer than limit, as
// an administrator's job or a proxy does, until the test ends. It returns how
// many it has ended. Who waits for autovacuum's lock is let wait.
func impatient(t *testing.T, url string, limit time.Duration) (ended func() int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var total atomic.Int64
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for ctx.Err() == nil {
			<-look.C
			var n int64
			_ = conn.QueryRow(ctx, `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
				  AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock' AND query_start < clock_timestamp() - $1::float8 * interval '1 second'`, limit.Seconds()).Scan(&n)
			total.Add(n)
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		_ = conn.Close(context.Background())
	})
	return total.Load
}

// patience is a timeout that fits how busy the machine is: several times what it takes
// to read the whole history once.
func patience(t *testing.T, db *postgres.Database) time.Duration {
	t.Helper()
	longest := time.Duration(0)
	for range 3 {
		begun := time.Now()
		count(t, db, "SELECT count(headers) FROM outbox_sent")
		longest = max(longest, time.Since(begun))
	}
	return max(200*time.Millisecond, 4*longest)
}

// The history of some days, in which all but a few events are confirmed.
const (
	longHistory = `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT outbox_new_id(), 'test:long', '', '{}', 'default', now(), 0, 0, now() - n * interval '1 second', now() - n * interval '1 second' FROM generate_series(1, 200000) n`
	emitted       = `INSERT INTO outbox_entries (event_type, created_at) SELECT event_type, created_at FROM outbox_sent`
	confirmAllBut = `INSERT INTO inbox (event_id) SELECT id FROM outbox_sent ORDER BY sent_at DESC OFFSET $1`
)

// Work that grows with the data is done under any timeout: healing, counting,
// folding, trimming, dropping a partition, verifying.
func TestLongWorkIsDoneInPieces(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	db := schematest.Connect(t, url)
	migrate(t, db)
	ctx := t.Context()
	house := upkeep.NewHousekeeping(db, "")
	if err := house.KeepPartitions(ctx, 100*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, ago := range []int{1, 2} { // before which there was no leader
		day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -ago)
		exec(t, db, `CREATE TABLE outbox_sent_`+day.Format("20060102")+` PARTITION OF outbox_sent FOR VALUES FROM ('`+day.Format(time.RFC3339)+`') TO ('`+day.AddDate(0, 0, 1).Format(time.RFC3339)+`')`)
	}
	exec(t, db, longHistory)
	exec(t, db, emitted)
	const lost = 7
	exec(t, db, confirmAllBut, lost)
	exec(t, db, "ANALYZE")
	ended := impatient(t, url, patience(t, db))

	if n, err := heal.NewRedriver(db).CountRedrive(ctx, heal.RedriveFilter{Since: 100 * 24 * time.Hour}); err != nil || n != lost {
		t.Errorf("CountRedrive: %d, %v, want %d", n, err, lost)
	}
	if n, err := heal.NewRedriver(db).Redrive(ctx, 100*24*time.Hour); err != nil || n != lost {
		t.Errorf("Redrive: %d, %v, want %d", n, err, lost)
	}
	if n, err := house.FoldAccount(ctx); err != nil || n != 200_000 {
		t.Errorf("FoldAccount: %d, %v", n, err)
	}
	auditor := search.NewAuditor(db)
	verify := func() {
		t.Helper()
		lines, err := auditor.Account(ctx)
		if err != nil || len(lines) == 0 {
			t.Errorf("Account: %d lines, %v", len(lines), err)
		}
		for _, l := range lines {
			if l.Difference() != 0 {
				t.Errorf("the account has %+v", l)
			}
		}
		if broken, err := auditor.Violations(ctx, lines, 10); err != nil || len(broken) != 0 {
			t.Errorf("Violations: %+v, %v", broken, err)
		}
		if events, err := auditor.Unconfirmed(ctx, domain.ID{}, 10, nil); err != nil || len(events) != 0 {
			t.Errorf("Unconfirmed: %+v, %v", events, err)
		}
	}
	verify()
	if err := house.KeepPartitions(ctx, 20*time.Hour); err != nil {
		t.Errorf("KeepPartitions: %v", err)
	}
	if n := count(t, db, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass`); n > 10 {
		t.Errorf("%d partitions are left", n)
	}
	verify()
	exec(t, db, `UPDATE inbox SET processed_at = now() - interval '1 hour' WHERE event_id IN (SELECT event_id FROM inbox LIMIT 1000)`)
	for left := int64(10_000); left == 10_000; {
		var err error
		if left, err = house.TrimInbox(ctx, time.Second, 10_000); err != nil {
			t.Fatalf("TrimInbox: %v", err)
		}
	}
	// On a fast machine that may be none.
	t.Logf("%d statements were ended", ended())
}
