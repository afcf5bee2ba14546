package repository_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/repository/postgres"
)

// The first ping that a silent server does not answer closes all connections of
// the pool. Otherwise each of them would cost a timeout. The next connection goes
// to the other host.
func TestASilentServerIsLeftAtOnce(t *testing.T) {
	t.Parallel()
	const pooled = 16
	address := schematest.Database(t)
	first, second := faulttest.NewProxy(t, address), faulttest.NewProxy(t, address)
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: postgrestest.FirstWritable(t, first.URL(), second.URL()), MaxConns: pooled,
		ConnectTimeout: 2 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	// Run all statements at once, so that each opens a connection.
	var all sync.WaitGroup
	for range pooled {
		all.Go(func() {
			if _, err := db.SQL().ExecContext(t.Context(), "SELECT pg_sleep(0.5)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first.Stall()
	defer first.Resume()
	failed := 0
	for ; failed < pooled; failed++ {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = db.Ping(ctx)
		cancel()
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("%d pings failed, which is one for each old connection", failed)
	}
}
