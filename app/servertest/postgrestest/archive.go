package postgrestest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
)

// Archive is a base backup of a server and the WAL that the server has written since
// then.
type Archive struct {
	server    *Server
	base, wal string
}

// Archive switches on the archiving of the server's WAL, and takes a base backup. For this, Archive restarts the server
// by an immediate shutdown, which is like a crash.
func (s *Server) Archive() *Archive {
	s.t.Helper()
	a := &Archive{server: s, base: filepath.Join(s.own.Folder(), "base"), wal: filepath.Join(s.own.Folder(), "wal")}
	if err := os.Mkdir(a.wal, 0o700); err != nil {
		s.t.Fatal(err)
	}
	a.give(a.wal)
	s.execute("ALTER SYSTEM SET archive_mode = on")
	s.execute("ALTER SYSTEM SET archive_command = 'cp %p " + a.wal + "/%f'")
	s.Stop()
	s.Start()
	Tool(s.t, s.URL(), "pg_basebackup", "--pgdata="+a.base, "--checkpoint=fast", "--wal-method=none")
	return a
}

// give makes the server's account the owner of a path.
func (a *Archive) give(path string) {
	a.server.t.Helper()
	if said, err := exec.CommandContext(a.server.t.Context(), "chown", "-R", "--reference="+a.server.data(), path).CombinedOutput(); err != nil {
		a.server.t.Fatalf("give %s to the server: %v: %s", path, err, said)
	}
}

// Mark gives the present moment a name. Mark returns when all WAL up to this moment
// is in the archive.
func (a *Archive) Mark(name string) {
	t := a.server.t
	t.Helper()
	conn := a.open()
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var file string
	err := conn.QueryRow(t.Context(), "SELECT pg_walfile_name(pg_create_restore_point($1))", name).Scan(&file)
	if err == nil {
		_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
	}
	for limit := time.Now().Add(servertest.Patience); err == nil; <-time.After(20 * time.Millisecond) {
		if _, missing := os.Stat(filepath.Join(a.wal, file)); missing == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s is not archived", file)
		}
	}
	t.Fatal(err)
}

func (a *Archive) open() *pgx.Conn {
	a.server.t.Helper()
	conn, err := pgx.Connect(a.server.t.Context(), a.server.URL())
	if err != nil {
		a.server.t.Fatal(err)
	}
	return conn
}

// Restore starts another server, with the data from the moment that Mark named.
func (a *Archive) Restore(t testing.TB, name string) *Server {
	t.Helper()
	s := prepare(t, "")
	s.makeFolder()
	data := s.data()
	if said, err := exec.CommandContext(t.Context(), "cp", "-Rp", a.base, data).CombinedOutput(); err != nil {
		t.Fatalf("copy the base backup: %v: %s", err, said)
	}
	settings, err := os.OpenFile(filepath.Join(data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(settings, "archive_mode = off\nrestore_command = 'cp %s/%%f %%p'\nrecovery_target_name = '%s'\nrecovery_target_action = promote\n", a.wal, name)
		_ = settings.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "recovery.signal"), nil, 0o600)
	}
	if err != nil {
		t.Fatalf("say what to restore: %v", err)
	}
	a.give(data)
	s.Start()
	for limit := time.Now().Add(servertest.Patience); ; <-time.After(20 * time.Millisecond) {
		if err := servertest.Exec(t.Context(), s.URL(), "DO $$ BEGIN IF pg_is_in_recovery() THEN RAISE EXCEPTION 'still in recovery'; END IF; END $$"); err == nil {
			return s
		} else if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}
