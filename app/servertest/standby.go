package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/embedded"
)

// Standby starts a server that follows this one by streaming replication. The standby is read-only until Promote. To
// begin the replication, this server is stopped by an immediate shutdown and started again. From then on this server
// confirms a commit only after the standby has the commit.
func (s *PostgresServer) Standby() *PostgresServer {
	s.t.Helper()
	s.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
	return s.follower()
}

// AsynchronousStandby is like Standby, but this server does not wait for the standby. If the standby is promoted, the
// commits that it did not get are lost.
func (s *PostgresServer) AsynchronousStandby() *PostgresServer {
	s.t.Helper()
	return s.follower()
}

func (s *PostgresServer) follower() *PostgresServer {
	s.t.Helper()
	standby := &PostgresServer{own{t: s.t, options: embedded.Options{Postgres: true, Ephemeral: true}}}
	standby.options.DataDir = binary.home.folder()
	s.Stop()
	standby.copyOf(s)
	s.t.Cleanup(standby.end)
	// PostgreSQL's recovery does not wait for a synchronous standby, so this server can start before the standby.
	s.Start()
	standby.Start()
	return standby
}

// copyOf copies the data of a stopped server.
func (s *PostgresServer) copyOf(primary *PostgresServer) {
	s.t.Helper()
	if err := os.Mkdir(s.options.DataDir, 0o711); err != nil { // another account must pass through
		s.t.Fatalf("make the standby's folder: %v", err)
	}
	from, to := filepath.Join(primary.options.DataDir, "postgres"), filepath.Join(s.options.DataDir, "postgres")
	if said, err := exec.CommandContext(s.t.Context(), "cp", "-Rp", from, to).CombinedOutput(); err != nil {
		s.t.Fatalf("copy the primary: %v: %s", err, said)
	}
	upstream := parse(s.t, primary.URL()).Query()
	settings, err := os.OpenFile(filepath.Join(to, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(settings, "primary_conninfo = 'host=%s port=%s user=outboxd'\nsynchronous_standby_names = ''\n", upstream.Get("host"), upstream.Get("port"))
		_ = settings.Close()
	}
	if err != nil {
		s.t.Fatalf("make the standby follow: %v", err)
	}
	if err := os.WriteFile(filepath.Join(to, "standby.signal"), nil, 0o644); err != nil { // another account reads it
		s.t.Fatalf("make the standby follow: %v", err)
	}
}

// Detach stops the replication: the standby stays at its present state.
func (s *PostgresServer) Detach() {
	s.t.Helper()
	s.execute("ALTER SYSTEM SET primary_conninfo = ''")
	s.execute("SELECT pg_reload_conf()")
	s.await("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
}

// Promote makes a standby a primary, and returns when it accepts writes.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	s.execute("SELECT pg_promote()")
}

func (s *PostgresServer) execute(sql string) {
	s.t.Helper()
	if err := execute(context.WithoutCancel(s.t.Context()), s.url, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// await runs a query repeatedly until it returns a row.
func (s *PostgresServer) await(query string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), stopLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		tag, err := conn.Exec(ctx, query)
		if err == nil && tag.RowsAffected() > 0 {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: no row, %v", query, err)
		case <-again.C:
		}
	}
}

// FirstWritable returns a URL with several hosts. By target_session_attrs a client connects to the first of these
// databases that accepts writes.
func FirstWritable(t testing.TB, addresses ...string) string {
	t.Helper()
	var hosts, ports []string
	for _, address := range addresses {
		u := parse(t, address)
		host, port := u.Hostname(), u.Port()
		if query := u.Query(); query.Has("host") {
			host, port = query.Get("host"), query.Get("port")
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	u := parse(t, addresses[0])
	u.Host = ""
	u.RawQuery = url.Values{
		"host": {strings.Join(hosts, ",")}, "port": {strings.Join(ports, ",")},
		"target_session_attrs": {"read-write"}, "sslmode": {"disable"},
	}.Encode()
	return u.String()
}
