package repositorytest

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// Attended returns a database with the partitions and the row of presence that a leading
// relay writes. No relay runs.
func Attended(t testing.TB, url string) *postgres.Database {
	t.Helper()
	db := schematest.Connect(t, url)
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := repository.NewPresence(db, "").Show(t.Context(), domain.RelayProcess{ID: domain.ID{1}, Host: "here"}, true); err != nil {
		t.Fatal(err)
	}
	return db
}
