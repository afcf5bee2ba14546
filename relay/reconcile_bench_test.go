package relay_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/repository"
)

// BenchmarkReconcile is what one page costs of a history of unconfirmed events
// that legitimately wait in Redis: time for each event, of a round without its
// rests.
func BenchmarkReconcile(b *testing.B) {
	databaseURL, server := servertest.Database(b), servertest.OwnRedis(b)
	f := newFixture(b, databaseURL, server.URL(), nil)
	missing := repository.NewMissingEvents(schematest.Connect(b, databaseURL))
	f.exec(`INSERT INTO outbox (event_type, payload) SELECT 'test:effect', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, $1::int) n`, reconciled)
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
			page, err := missing.Page(b.Context(), after, domain.LastID(), 5000, 0, nil)
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
	b.ReportMetric(float64(database.Microseconds())/float64(events), "µs-database/event")
	b.ReportMetric(float64(queue.Microseconds())/float64(events), "µs-queue/event")
	b.ReportMetric(float64(events)/float64(b.N), "events/round")
}

const reconciled = 200_000
