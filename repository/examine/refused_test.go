package examine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
)

// afterRefusal calls the function do once: after the first statement that PostgreSQL
// refuses for lack of rights, and before the transaction of the statement ends.
type afterRefusal struct{ do func(pid uint32) }

func (*afterRefusal) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (a *afterRefusal) TraceQueryEnd(_ context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if do := a.do; do != nil && postgres.SQLState(data.Err) == "42501" {
		a.do = nil
		do(conn.PgConn().PID())
	}
}

// In the middle of an examination, a role loses its right to connect, and its connection.
func TestExaminerThatMayNoLongerConnect(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := attended(t, server.URL())
	exec(t, db, `CREATE ROLE watcher LOGIN; GRANT USAGE ON SCHEMA outboxd TO watcher; GRANT SELECT ON outbox, outbox_relays, outbox_sent TO watcher`)
	refused := &afterRefusal{do: func(pid uint32) {
		exec(t, db, `DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END $$`)
		exec(t, db, `SELECT pg_terminate_backend($1)`, pid)
		eventually(t, db, 0, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, pid)
	}}
	watcher, err := postgres.Open(t.Context(), postgres.Options{
		URL: strings.Replace(server.URL(), "postgres://outboxd", "postgres://watcher", 1), MaxConns: 1, ConnectTimeout: 10 * time.Second,
		Tracer: refused, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watcher.Close)
	o := healthy()
	o.Conns = 1000

	found, err := examine.New(watcher, o).Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if codes(found) != "postgres-fsync-off/warning postgres-connections/warning postgres-hidden/note" {
		t.Errorf("found %q", codes(found))
	}
	said := text(found, "postgres-hidden")
	for _, c := range []string{"whether tasks have no event any more; whether the leader fails at something; whether the history", "whether ordering keys are held; whether something stands between"} {
		if !strings.Contains(said, c) {
			t.Errorf("it does not say %q: %s", c, said)
		}
	}
	if found, err := examine.New(watcher, o).Examine(t.Context()); postgres.SQLState(err) != "42501" {
		t.Errorf("of a role that may not connect: found %q, %v", codes(found), err)
	}
	exec(t, db, `DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()); END $$`)
	if found, err := examine.New(watcher, o).Examine(t.Context()); err != nil || !strings.Contains(codes(found), "postgres-connections/warning") {
		t.Errorf("of a role that may connect again: found %q, %v", codes(found), err)
	}
}
