package postgrestest

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

// Server is a PostgreSQL for one test, as package embedded starts it with the option Ephemeral. A method of Server that
// cannot do its work fails the test. Call the methods only from the test's goroutines.
type Server struct {
	t   testing.TB
	own *servertest.OwnServer
}

// Start starts a PostgreSQL for one test, with an empty database. After Stop and Start the server still has its data.
func Start(t testing.TB) *Server {
	t.Helper()
	s := prepare(t, "")
	s.Start()
	return s
}

// prepare returns a server that does not run yet. folder is for its data; "" means a new folder.
func prepare(t testing.TB, folder string) *Server {
	t.Helper()
	return &Server{t: t, own: servertest.NewOwnServer(t, embedded.Options{Postgres: true, DataDir: folder})}
}

// URL returns the server's address, which never changes.
func (s *Server) URL() string { return s.own.URL() }

// Log returns the path of PostgreSQL's log file.
func (s *Server) Log() string { return filepath.Join(s.own.Folder(), "postgres.log") }

// data returns the path of PostgreSQL's data directory.
func (s *Server) data() string { return filepath.Join(s.own.Folder(), "postgres") }

// Start starts the server again with its old data, and returns when the server answers.
func (s *Server) Start() {
	s.t.Helper()
	s.own.Start()
}

// Stop ends PostgreSQL by an immediate shutdown, which is like a crash, and returns when it is
// gone.
func (s *Server) Stop() {
	s.t.Helper()
	s.own.Crash(syscall.SIGQUIT)
}

// revive starts PostgreSQL again if it has ended by itself. revive returns when PostgreSQL answers.
func (s *Server) revive() {
	s.t.Helper()
	for deadline := time.Now().Add(servertest.Patience); ; {
		if s.own.HasEnded() {
			s.Start()
			return
		}
		// The server may be about to end, or may be recovering from a crash. It answers only after the recovery.
		err := servertest.Exec(context.WithoutCancel(s.t.Context()), s.URL(), "SELECT 1")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("revive test server: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (s *Server) execute(sql string) {
	s.t.Helper()
	if err := servertest.Exec(context.WithoutCancel(s.t.Context()), s.URL(), sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// await runs a query repeatedly until it returns a row.
func (s *Server) await(query string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), servertest.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
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

// makeFolder makes the folder of a server whose data is copied from another server.
// PostgreSQL's account must be able to enter the folder.
func (s *Server) makeFolder() {
	s.t.Helper()
	if err := os.Mkdir(s.own.Folder(), 0o711); err != nil {
		s.t.Fatalf("make the folder of a test server: %v", err)
	}
}
