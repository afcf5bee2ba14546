package relay_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/relay"
)

// BenchmarkDrain relays a backlog of 50,000 events, again and again. Read events/s: ns/op is the time of one event only
// if b.N is a multiple of 50,000.
func BenchmarkDrain(b *testing.B) {
	for _, size := range []struct {
		name        string
		concurrency int
		batch       int
	}{{"pollers=1/batch=500", 1, 500}, {"pollers=2/batch=500", 2, 500}, {"pollers=2/batch=1000", 2, 1000}} {
		b.Run(size.name, func(b *testing.B) {
			const backlog = 50_000
			f := newFixture(b, schematest.Database(b), servertest.Redis(b), func(o *relay.Options) {
				o.Concurrency, o.BatchSize = size.concurrency, size.batch
			})
			if err := f.options.Housekeeping.KeepPartitions(b.Context(), time.Hour); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			done := 0
			for ; done < b.N; done += backlog {
				b.StopTimer()
				f.exec("TRUNCATE outbox, outbox_sent")
				f.exec("INSERT INTO outbox (event_type, payload) SELECT 'bench:event', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, $1::int)", backlog)
				f.exec("VACUUM ANALYZE outbox")
				if err := f.redis.FlushDB(b.Context()).Err(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				stop := f.start()
				f.eventually(0, "SELECT count(*) FROM (SELECT FROM outbox LIMIT 1) AS any_left")
				b.StopTimer()
				stop()
				if n := len(f.tasks("default")); n != backlog {
					b.Fatalf("%d tasks, want %d", n, backlog)
				}
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
