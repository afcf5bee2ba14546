package upkeep_test

import (
	"context"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// leadership reports when one process leads, and with which error its leadership ended.
type leadership struct {
	leads chan domain.StillLeads
	ended chan error
}

// The function lead leads through a connection of url, with terms that are shortened, until the
// test ends.
func lead(t *testing.T, db *postgres.Database, url string) *leadership {
	t.Helper()
	l := &leadership{leads: make(chan domain.StillLeads, 1), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	keeping := upkeep.NewHousekeeping(db, url).WithLeaderTerms(time.Second, 100*time.Millisecond, 50*time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.ended <- keeping.Lead(ctx, func(ctx context.Context, leads domain.StillLeads) error {
			l.leads <- leads
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// A leader that is cut off by the network keeps its connection. PostgreSQL ends its session, and another process leads.
// The first process learns that when it asks whether it still leads.
func TestAHangingLeaderIsReplaced(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	proxy := faulttest.NewProxy(t, url)
	first := lead(t, db, proxy.URL())
	firstLeads := <-first.leads
	if err := firstLeads(t.Context()); err != nil {
		t.Fatalf("a leader does not lead: %v", err)
	}
	second := lead(t, db, url)
	const sessions = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND a.state LIKE 'idle in transaction' AND a.datname = current_database()`
	if n := count(t, db, sessions); n != 1 {
		t.Errorf("%d leaders are in a transaction, want 1", n)
	}
	proxy.Stall()
	select {
	case err := <-first.ended:
		t.Fatalf("the first one noticed before it was replaced: %v", err)
	case <-second.leads:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody leads")
	}
	proxy.Resume()
	if err := firstLeads(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("the one that was cut off still leads: %v", err)
	}
	if err := <-first.ended; domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("it ended with %v", err)
	}
}

// The transaction in which a leader waits holds back nothing, and is never old.
func TestALeaderHoldsNothingBack(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	l := lead(t, db, url)
	leads := <-l.leads
	const held = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND a.datname = current_database() AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.state <> 'active'`
	const begun = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND a.datname = current_database() AND a.xact_start > $1`
	now := time.Now()
	eventually(t, db, 1, begun, now) // each message of the leader begins a new transaction
	if n := count(t, db, held); n != 0 {
		t.Error("the leader's transaction holds back vacuum")
	}
	if err := leads(t.Context()); err != nil {
		t.Error(err)
	}
}

// Leading works through PgBouncer in transaction mode, too, and ends with the client.
func TestLeadingThroughPgBouncer(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	pooled := postgrestest.PgBouncer(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	keeping := upkeep.NewHousekeeping(db, pooled).WithLeaderTerms(time.Minute, 50*time.Millisecond, 50*time.Millisecond)
	leading := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = keeping.Lead(ctx, func(ctx context.Context, _ domain.StillLeads) error { close(leading); <-ctx.Done(); return nil })
	}()
	<-leading
	cancel()
	<-ended
	second := lead(t, db, url)
	select {
	case <-second.leads:
	case <-time.After(30 * time.Second):
		t.Fatal("the lock stays with PgBouncer")
	}
}
