package servertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestDatabasesAreEmptyAndSeparate(t *testing.T) {
	t.Parallel()
	for range 3 {
		began := time.Now()
		address := servertest.Database(t)
		t.Logf("a database took %v", time.Since(began).Round(time.Millisecond))
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		// Left open on purpose: the clean-up has to cope.
		var schemas, tables int
		if err := conn.QueryRow(t.Context(), `SELECT count(to_regnamespace('outboxd')), (SELECT count(*) FROM pg_tables WHERE schemaname IN ('outboxd', 'public'))`).Scan(&schemas, &tables); err != nil {
			t.Fatal(err)
		}
		if schemas != 0 || tables != 0 {
			t.Errorf("%d schemas with %d tables, want none", schemas, tables)
		}
		if _, err := conn.Exec(t.Context(), `CREATE SCHEMA outboxd; CREATE TABLE here (id int)`); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedisDatabasesAreEmptyAndSeparate(t *testing.T) {
	t.Parallel()
	for range 3 {
		client := servertest.Client(t, servertest.Redis(t))
		if n := client.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys in a new database", n)
		}
		if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOwnRedis(t *testing.T) {
	t.Parallel()
	server := servertest.OwnRedis(t)
	client := servertest.Client(t, server.URL())
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed Redis answers")
	}
	server.Start()
	if got := client.Get(t.Context(), "key").Val(); got != "value" {
		t.Errorf("after kill and start the key is %q", got)
	}
	server.Pause()
	paused, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Ping(paused).Err(); err == nil {
		t.Error("a paused Redis answers")
	}
	server.Resume()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("a resumed Redis does not answer: %v", err)
	}
	server.Kill()
	server.Flush()
	server.Start()
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in a Redis that lost its data", n)
	}
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Flush()
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in a flushed Redis", n)
	}
	server.Pause() // and the clean-up has to cope
}

func TestOwnPostgres(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	servertest.Execute(t, server.URL(), `CREATE TABLE kept AS SELECT 1 AS one`)
	server.Stop()
	if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
		t.Error("a stopped PostgreSQL accepts connections")
	}
	server.Start()
	servertest.Execute(t, server.URL(), `SELECT one FROM kept`)
}
