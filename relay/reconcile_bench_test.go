package relay_test

import (
	"strconv"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/relay"
	"outboxd/repository/heal"
)

// BenchmarkReconcile is what a round costs over a history of unconfirmed events
// that legitimately wait in Redis: time for each event, without the rests between
// the pages, and how long the round takes with them.
//
//	go test -run '^$' -bench 'Reconcile/200000' -benchtime 3x ./relay
func BenchmarkReconcile(b *testing.B) {
	for _, events := range []int{200_000, 1_000_000} {
		b.Run(strconv.Itoa(events), func(b *testing.B) { benchmarkReconcile(b, events) })
	}
}

func benchmarkReconcile(b *testing.B, waiting int) {
	databaseURL, server := servertest.Database(b), servertest.OwnRedis(b)
	f := newFixture(b, databaseURL, server.URL(), nil)
	missing := heal.NewMissingEvents(schematest.Connect(b, databaseURL))
	f.exec(`INSERT INTO outbox (event_type, payload) SELECT 'test:effect', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, $1::int) n`, waiting)
	stop := f.start()
	for f.count("SELECT count(*) FROM (SELECT FROM outbox LIMIT 1) AS one") > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	f.exec("ANALYZE")
	finder := f.options.Publisher.(*jobs.Publisher).Tasks()
	b.ResetTimer()
	events, database, queue := 0, time.Duration(0), time.Duration(0)
	for b.Loop() {
		for after := (domain.ID{}); ; {
			begun := time.Now()
			page, err := missing.Page(b.Context(), after, domain.LastID(), relay.ReconcileRows, 0, nil)
			if err != nil {
				b.Fatal(err)
			}
			database += time.Since(begun)
			list := make([]domain.Event, len(page.Waiting))
			for i := range list {
				list[i] = page.Waiting[i].Event
			}
			begun = time.Now()
			found, err := finder.Look(b.Context(), list)
			if err != nil {
				b.Fatal(err)
			}
			queue += time.Since(begun)
			for _, task := range found {
				if task != domain.TaskUnfinished {
					b.Fatalf("a task %v", task)
				}
			}
			events += len(list)
			if after = page.Last; page.End {
				break
			}
		}
	}
	if events != waiting*b.N {
		b.Fatalf("%d events in %d rounds, want %d in each", events, b.N, waiting)
	}
	b.ReportMetric(float64(database.Microseconds())/float64(events), "µs-database/event")
	b.ReportMetric(float64(queue.Microseconds())/float64(events), "µs-queue/event")
	b.ReportMetric(relay.ReconcileShare*(database+queue).Seconds()/float64(b.N), "s/round-with-rests")
}
