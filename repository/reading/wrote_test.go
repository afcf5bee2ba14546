package reading_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
)

// slowAnswer lets the first question where the log ends wait for its answer, until the test
// closes arrive.
type slowAnswer struct {
	asked, arrive chan struct{}
	waiting       bool
}

func (s *slowAnswer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, s, strings.Contains(data.SQL, "pg_current_wal_insert_lsn"))
}

func (s *slowAnswer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if where, _ := ctx.Value(s).(bool); where && !s.waiting {
		s.waiting = true
		close(s.asked)
		<-s.arrive
	}
}

// Two people change something. The primary's answer to the first of them is from before the
// second change, and arrives last.
func TestTheNewerOfTwoChangesIsAwaited(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	slow := &slowAnswer{asked: make(chan struct{}), arrive: make(chan struct{})}
	db, err := postgres.Open(t.Context(), postgres.Options{URL: primary.URL(), MaxConns: 4, ConnectTimeout: 10 * time.Second, Tracer: slow, Logger: servertest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby() // synchronous: it has every commit
	open := func(ctx context.Context) (*postgres.Database, error) {
		return postgres.Open(ctx, postgres.Options{URL: standby.URL(), MaxConns: 2, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
	}
	reads := reading.New(db, open, servertest.Logger(t)).LookEvery(10 * time.Millisecond)
	t.Cleanup(reads.Close)
	exec(t, db, "SELECT outboxd.emit('a:first', '{}')")
	servertest.Eventually(t, "the standby has the event", func() bool { return types(t, reads) == "a:first" })

	told := make(chan struct{})
	go func() { defer close(told); reads.Wrote(t.Context()) }()
	<-slow.asked
	standby.Detach()
	exec(t, db, "ALTER SYSTEM SET synchronous_standby_names = ''")
	exec(t, db, "SELECT pg_reload_conf()")
	exec(t, db, "SELECT outboxd.emit('b:second', '{}')")
	reads.Wrote(t.Context())
	close(slow.arrive)
	<-told
	if found := types(t, reads); found != "b:second a:first" {
		t.Errorf("after the second change: %q", found)
	}
}
