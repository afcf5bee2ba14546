package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/relay"
	"outboxd/repository/confirm"
)

// BenchmarkOrdering measures events from the outbox to their effect, through
// relay and worker. An op is a whole run; compare events/s.
func BenchmarkOrdering(b *testing.B) {
	const (
		keyless = `INSERT INTO outbox (event_type, payload) SELECT 'bench:event', '' FROM generate_series(1, 20000)`
		hot     = `INSERT INTO outbox (event_type, payload, ordering_key) SELECT 'bench:keyed', '', 'hot' FROM generate_series(1, 10000)`
		key     = `INSERT INTO outbox (event_type, payload, ordering_key) SELECT 'bench:event', '', 'key' FROM generate_series(1, 2000)`
		keys    = `INSERT INTO outbox (event_type, payload, ordering_key) SELECT 'bench:event', '', 'key' || n % 1000 FROM generate_series(1, 100000) n`
		some    = `INSERT INTO outbox (event_type, payload, ordering_key) SELECT 'bench:event', '', 'key' || n FROM generate_series(1, 20000) n`
	)
	for _, c := range []struct {
		name   string
		events int
		emit   []string
	}{
		{"keyless", 20_000, []string{keyless}},
		{"keyless beside a hot key", 20_000, []string{hot, keyless}},
		{"20000 keys x 1", 20_000, []string{some}},
		{"1 key x 2000", 2_000, []string{key}},
		{"1000 keys x 100", 100_000, []string{keys}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				f, startWorker := newWorkingFixture(b)
				for _, statement := range c.emit {
					f.exec(statement)
				}
				f.exec("VACUUM ANALYZE outbox")
				b.StartTimer()
				begun := time.Now()
				stopRelay, stopWorker := f.start(), startWorker()
				f.await("SELECT count(*) FROM bench_done", c.events)
				b.ReportMetric(float64(c.events)/time.Since(begun).Seconds(), "events/s")
				b.StopTimer()
				stopWorker()
				stopRelay()
				b.StartTimer()
			}
		})
	}
}

// newWorkingFixture returns a fixture, and a function that starts a worker whose effects are rows.
func newWorkingFixture(b *testing.B) (f *fixture, startWorker func() (stop func())) {
	b.Helper()
	redisURL := servertest.Redis(b)
	silent := slog.New(slog.DiscardHandler)
	f = newFixture(b, schematest.Database(b), redisURL, func(o *relay.Options) { o.BatchSize, o.PollInterval, o.Logger = 1000, time.Second, silent })
	f.exec("CREATE TABLE bench_done (n bigserial)")
	if err := f.options.Housekeeping.KeepPartitions(b.Context(), time.Hour); err != nil {
		b.Fatal(err)
	}
	done := func(ctx context.Context, tx domain.Effects, _ work.Task) error {
		_, err := confirm.TransactionOf(tx).Statement.ConnPool.ExecContext(ctx, "INSERT INTO bench_done DEFAULT VALUES")
		return err
	}
	nothing := func(context.Context, domain.Effects, work.Task) error { return nil }
	worker := work.New(work.Options{
		Redis: openRedis(b, redisURL), Inbox: confirm.NewInbox(f.db), Handlers: map[string]work.Handler{"bench:event": done, "bench:keyed": nothing},
		Concurrency: 10, Queues: map[string]int{domain.DefaultQueue: 1}, PollInterval: 10 * time.Millisecond,
		Drain: 5 * time.Second, Logger: silent, Registry: prometheus.NewRegistry(),
	})
	return f, func() func() {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		}
	}
}

// await waits until the query counts at least the given number, for as long as the
// benchmark runs.
func (f *fixture) await(query string, want int) {
	f.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for f.count(query) < want {
		select {
		case <-look.C:
		case <-f.t.Context().Done():
			f.t.Fatal("not done in time")
		}
	}
}

// BenchmarkInCommitOrder measures what it costs a producer to lock its key: 8
// producers that write one event in each transaction. An op is an event.
func BenchmarkInCommitOrder(b *testing.B) {
	const producers = 8
	for _, c := range []struct{ name, key, order string }{
		{"no key", "NULL", "false"},
		{"own keys", "'k' || $1", "false"},
		{"own keys, in commit order", "'k' || $1", "true"},
		{"one key", "'k'", "false"},
		{"one key, in commit order", "'k'", "true"},
	} {
		b.Run(c.name, func(b *testing.B) {
			db := schematest.Open(b)
			statement := fmt.Sprintf("SELECT outboxd.emit('bench:event', '{}', headers => jsonb_build_object('n', $1::text), ordering_key => %s, in_commit_order => %s)", c.key, c.order)
			b.ResetTimer()
			var all sync.WaitGroup
			for p := range producers {
				all.Go(func() {
					for n := p; n < b.N; n += producers {
						if _, err := db.SQL().ExecContext(b.Context(), statement, fmt.Sprint(n)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
