package servertest_test

import (
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
		// The connection stays open on purpose: the clean-up has to end it.
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
