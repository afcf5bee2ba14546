package postgrestest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"outboxd/app/servertest"
)

// Standby starts a server that follows this one by streaming replication. The standby is read-only until Promote. To
// begin the replication, this server is stopped by an immediate shutdown and started again. From then on this server
// confirms a commit only after the standby has the commit.
func (s *Server) Standby() *Server {
	s.t.Helper()
	s.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
	return s.follower()
}

// AsynchronousStandby is like Standby, but this server does not wait for the standby. If the standby is promoted, the
// commits that it did not get are lost.
func (s *Server) AsynchronousStandby() *Server {
	s.t.Helper()
	return s.follower()
}

func (s *Server) follower() *Server {
	s.t.Helper()
	standby := prepare(s.t, "")
	s.Stop()
	standby.copyOf(s)
	// PostgreSQL's recovery does not wait for a synchronous standby, so this server can start before the standby.
	s.Start()
	standby.Start()
	return standby
}

// copyOf copies the data of a stopped server.
func (s *Server) copyOf(primary *Server) {
	s.t.Helper()
	s.makeFolder()
	from, to := primary.data(), s.data()
	if said, err := exec.CommandContext(s.t.Context(), "cp", "-Rp", from, to).CombinedOutput(); err != nil {
		s.t.Fatalf("copy the primary: %v: %s", err, said)
	}
	upstream := servertest.Parse(s.t, primary.URL()).Query()
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
func (s *Server) Detach() {
	s.t.Helper()
	s.execute("ALTER SYSTEM SET primary_conninfo = ''")
	s.execute("SELECT pg_reload_conf()")
	s.await("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
}

// Promote makes a standby a primary, and returns when it accepts writes.
func (s *Server) Promote() {
	s.t.Helper()
	s.execute("SELECT pg_promote()")
}

// FirstWritable returns a URL with several hosts. By target_session_attrs a client connects to the first of these
// databases that accepts writes.
func FirstWritable(t testing.TB, addresses ...string) string {
	t.Helper()
	var hosts, ports []string
	for _, address := range addresses {
		u := servertest.Parse(t, address)
		host, port := u.Hostname(), u.Port()
		if query := u.Query(); query.Has("host") {
			host, port = query.Get("host"), query.Get("port")
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	u := servertest.Parse(t, addresses[0])
	u.Host = ""
	u.RawQuery = url.Values{
		"host": {strings.Join(hosts, ",")}, "port": {strings.Join(ports, ",")},
		"target_session_attrs": {"read-write"}, "sslmode": {"disable"},
	}.Encode()
	return u.String()
}
