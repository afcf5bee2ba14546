package postgrestest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
)

// On a full disk PostgreSQL refuses to write. It ends when its write-ahead log has no more room. With room again, it
// still has what committed.
func TestADiskIsFilledAndFreed(t *testing.T) {
	t.Parallel()
	server, disk := postgrestest.StartOnDisk(t)
	if disk == nil {
		t.Fatal("the test needs a disk of its own: run it as root, or let sudo mount without a password")
	}
	ask(t, server.URL(), "CREATE TABLE kept AS SELECT 1 AS n")
	disk.Fill()
	conn := connect(t, server.URL())
	_, err := conn.Exec(t.Context(), "CREATE TABLE large AS SELECT repeat('x', 100) AS text FROM generate_series(1, 10000)")
	if fault, ok := errors.AsType[*pgconn.PgError](err); !ok || fault.Code != "53100" {
		t.Errorf("writing to a full disk ends with %v", err)
	}
	disk.Free()
	if n := ask(t, server.URL(), "SELECT n FROM kept"); n != 1 {
		t.Errorf("%v is left of what had committed", n)
	}
	disk.Fill()
	servertest.Eventually(t, "PostgreSQL finds no room for its log", func() bool {
		// Each call of pg_switch_wal begins the next file of the log.
		if _, err = conn.Exec(t.Context(), "INSERT INTO kept VALUES (2)"); err == nil {
			_, err = conn.Exec(t.Context(), "SELECT pg_switch_wal()")
		}
		return err != nil && conn.IsClosed()
	})
	disk.Free()
	if n := ask(t, server.URL(), "SELECT min(n) FROM kept"); n != 1 {
		t.Errorf("%v is left of what had committed", n)
	}
}

// connect waits while the server refuses connections because it recovers: the server may answer once more between
// the crash of a process and the recovery.
func connect(t *testing.T, url string) (conn *pgx.Conn) {
	t.Helper()
	var err error
	servertest.Eventually(t, "the server accepts a connection", func() bool {
		conn, err = pgx.Connect(t.Context(), url)
		fault, ok := errors.AsType[*pgconn.PgError](err)
		return !ok || fault.Code != "57P03"
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be broken
	return conn
}

// ask returns the first value of the answer, nil if there is none.
func ask(t *testing.T, url, sql string) (value any) {
	t.Helper()
	rows, err := connect(t, url).Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		value = values[0]
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if n, ok := value.(int32); ok {
		return int(n)
	}
	return value
}
