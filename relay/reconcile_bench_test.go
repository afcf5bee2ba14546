package relay_test

import (
	"strconv"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/publish"
	"outboxd/relay/lead"
	"outboxd/repository/heal"
)

// BenchmarkReconcile measures the cost of a round over a history of unconfirmed
// events that legitimately wait in Redis: time for each of them, without the rests
// between the pages, and how long the round takes with the rests. In a full inbox
// each of them has a confirmed event beside it, in the history as well: each page
// then has to tell one from the other, and a round has twice as many pages.
//
//	go test -run '^$' -bench 'Reconcile/200000' -benchtime 3x ./relay
func BenchmarkReconcile(b *testing.B) {
	for _, events := range []int{200_000, 1_000_000} {
		b.Run(strconv.Itoa(events), func(b *testing.B) {
			r := newReconcileBench(b, events)
			b.Run("empty inbox", r.run)
			r.fillInbox()
			b.Run("full inbox", r.run)
		})
	}
}

type reconcileBench struct {
	*fixture
	waiting int
	missing *heal.MissingEvents
	finder  queued.TaskFinder
}

func newReconcileBench(b *testing.B, waiting int) *reconcileBench {
	b.Helper()
	databaseURL, server := schematest.Database(b), redistest.Start(b)
	f := newFixture(b, databaseURL, server.URL(), nil)
	f.exec(`INSERT INTO outbox (event_type, payload) SELECT 'test:effect', convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, $1::int) n`, waiting)
	stop := f.start()
	for f.count("SELECT count(*) FROM (SELECT FROM outbox LIMIT 1) AS one") > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	f.exec("VACUUM ANALYZE")
	return &reconcileBench{f, waiting, heal.NewMissingEvents(schematest.Connect(b, databaseURL)), f.options.Publisher.(*publish.Publisher).Tasks()}
}

// fillInbox puts a confirmed event beside each that waits: its ID differs in the last digits.
func (r *reconcileBench) fillInbox() {
	r.exec(`INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT (left(id::text, 28) || right(md5(left(id::text, 28)), 8))::uuid, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at FROM outbox_sent`)
	r.exec(`INSERT INTO inbox (event_id) SELECT id FROM outbox_sent WHERE right(id::text, 8) = right(md5(left(id::text, 28)), 8)`)
	r.exec("VACUUM ANALYZE")
}

func (r *reconcileBench) run(b *testing.B) {
	events, database, queue, rests := 0, time.Duration(0), time.Duration(0), time.Duration(0)
	for b.Loop() {
		for after := (domain.ID{}); ; {
			begun := time.Now()
			page, err := r.missing.Page(b.Context(), after, domain.LastID(), lead.ReconcileRows, 0, nil)
			if err != nil {
				b.Fatal(err)
			}
			read := time.Now()
			list := make([]domain.Event, len(page.Waiting))
			for i := range list {
				list[i] = page.Waiting[i].Event
			}
			found, err := r.finder.Look(b.Context(), list)
			if err != nil {
				b.Fatal(err)
			}
			ended := time.Now()
			database, queue, rests = database+read.Sub(begun), queue+ended.Sub(read), rests+lead.ReconcileRest(ended.Sub(begun))
			for _, task := range found {
				if task != queued.TaskUnfinished {
					b.Fatalf("a task %v", task)
				}
			}
			events += len(list)
			if after = page.Last; page.End {
				break
			}
		}
	}
	if events != r.waiting*b.N {
		b.Fatalf("%d events in %d rounds, want %d in each", events, b.N, r.waiting)
	}
	b.ReportMetric(float64(database.Microseconds())/float64(events), "µs-database/event")
	b.ReportMetric(float64(queue.Microseconds())/float64(events), "µs-queue/event")
	b.ReportMetric((database+queue).Seconds()/float64(b.N), "s/round")
	b.ReportMetric((database+queue+rests).Seconds()/float64(b.N), "s/round-with-rests")
}
