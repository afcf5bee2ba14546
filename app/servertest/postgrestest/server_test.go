package postgrestest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	servertest.Execute(t, server.URL(), `CREATE TABLE kept AS SELECT 1 AS one`)
	server.Stop()
	if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
		t.Error("a stopped PostgreSQL accepts connections")
	}
	server.Start()
	servertest.Execute(t, server.URL(), `SELECT one FROM kept`)
}
