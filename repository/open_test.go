package repository_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/repository/postgres"
)

func TestAMissingCertificateIsNamed(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Options{
		URL: "postgres://user:secret@host/db?sslmode=verify-full&sslrootcert=/nowhere/root.crt", ConnectTimeout: time.Second, Logger: servertest.Logger(t),
	})
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "/nowhere/root.crt") || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open: %v", err)
	}
}

// A parameter that the server does not know stays unknown, so Open does not wait.
func TestAnUnknownParameterIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Options{URL: servertest.Database(t) + "&no_such_setting=x", ConnectTimeout: time.Minute, Logger: servertest.Logger(t)})
	if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("Open: %v", err)
	}
}

// The end of the patience interrupts the last attempt. The error is that of the attempt before.
func TestTheCauseOutlivesThePatience(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if n == 0 {
				_ = conn.Close()
			} else {
				defer conn.Close() // silent
			}
		}
	}()
	_, err = postgres.Open(t.Context(), postgres.Options{
		URL: "postgres://u@" + l.Addr().String() + "/d?sslmode=disable", ConnectTimeout: time.Second, Logger: servertest.Logger(t),
	})
	if err == nil || !strings.Contains(err.Error(), "does not answer within 1s: ") || strings.Contains(err.Error(), "deadline") {
		t.Errorf("Open: %v", err)
	}
}

// outboxd sets the search_path of each connection, also of one that it opens later. The URL, the role and the database
// do not change it.
func TestTheSearchPathIsOutboxdsOwn(t *testing.T) {
	t.Parallel()
	url := servertest.HostileDatabase(t, servertest.Hostile{Role: []string{"search_path = 'mine'"}, Database: []string{"search_path = 'theirs'"}})
	exec(t, schematest.Connect(t, url), "CREATE SCHEMA mine; CREATE SCHEMA outboxd")
	for _, address := range []string{url, strings.Replace(url, "search_path=outboxd", "search_path=mine", 1), strings.Replace(url, "search_path=outboxd", "application_name=x", 1)} {
		db := schematest.Connect(t, address)
		exec(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if n := count(t, db, "SELECT count(*) WHERE current_schema() = 'outboxd'"); n != 1 {
			t.Errorf("%s leads to another schema", address)
		}
	}
}
