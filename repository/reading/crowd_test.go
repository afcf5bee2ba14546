package reading_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
)

// TestManyReadersLeaveConnections has more slow queries of pages than the pool has connections.
func TestManyReadersLeaveConnections(t *testing.T) {
	t.Parallel()
	const conns, readers = 4, 12
	address := schematest.Database(t)
	blocker := schematest.Connect(t, address)
	db, err := postgres.Open(t.Context(), postgres.Options{URL: address, MaxConns: conns, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	block, err := blocker.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := block.Exec(t.Context(), "LOCK TABLE outbox_dead"); err != nil {
		t.Fatal(err)
	}
	reads := reading.New(db, nil, servertest.Logger(t))
	t.Cleanup(reads.Close)
	ended := make(chan error, readers)
	for range readers {
		go func() {
			_, _, err := reading.NewLetters(reads).Groups(t.Context(), domain.DeadFilter{}, 10)
			ended <- err
		}()
	}
	servertest.Eventually(t, "queries wait for the table", func() bool {
		var waiting int
		err := block.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox_dead'::regclass").Scan(&waiting)
		return err == nil && waiting >= 2
	})
	servertest.Eventually(t, "the relay has two connections all the same", func() bool { return db.Pool().Stat().AcquiredConns() <= conns-2 })
	if err := block.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
