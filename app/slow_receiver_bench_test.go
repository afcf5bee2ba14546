package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/migrations"
	"outboxd/repository/subscriptions"
)

// stopwatch is a quick receiver that notes how long ago each event was emitted.
type stopwatch struct {
	mu   sync.Mutex
	took []time.Duration
}

func (s *stopwatch) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var emitted struct{ At int64 }
	if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &emitted) != nil {
		return
	}
	took := time.Since(time.UnixMicro(emitted.At))
	s.mu.Lock()
	s.took = append(s.took, took)
	s.mu.Unlock()
}

// reset returns what was noted, in order of length, and begins anew.
func (s *stopwatch) reset() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.took
	s.took = nil
	slices.Sort(took)
	return took
}

func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(p*float64(len(sorted)-1))].Microseconds()) / 1000
}

// BenchmarkBesideASlowReceiver delivers 1,000 events a second to one receiver, first alone and then
// while 300 deliveries are under way to another that takes ten seconds for each. The benchmark
// reports the latency from the producer's statement to the receiver, the connections to PostgreSQL,
// and the age of the oldest transaction that holds back vacuum.
//
//	go test ./app -run '^$' -bench BesideASlowReceiver -benchtime 1x
func BenchmarkBesideASlowReceiver(b *testing.B) {
	const slow, perSecond, thinks = 300, 1000, 10 * time.Second
	url := servertest.Database(b)
	db := schematest.Connect(b, url)
	if _, err := migrations.Core().Up(b.Context(), db.SQL(), servertest.Logger(b)); err != nil {
		b.Fatal(err)
	}
	var thinking, most atomic.Int32
	thinker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		most.Store(max(most.Load(), thinking.Add(1)))
		defer thinking.Add(-1)
		timer := time.NewTimer(thinks)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}))
	b.Cleanup(thinker.Close)
	watch := &stopwatch{}
	quick := httptest.NewServer(watch)
	b.Cleanup(quick.Close)
	list := []setup.Subscription{
		setup.Subscription{Name: "slow", Types: []string{"slow:*"}, URL: thinker.URL, Concurrency: slow, Timeout: time.Minute, InsteadOfQueue: true}.WithDefaults(),
		setup.Subscription{Name: "quick", Types: []string{"quick:*"}, URL: quick.URL, Concurrency: 50, InsteadOfQueue: true}.WithDefaults(),
	}
	if _, err := subscriptions.New(db).Apply(b.Context(), &domain.Action{Actor: "bench"}, list); err != nil {
		b.Fatal(err)
	}
	launch(b, "--roles=relay,worker", "--database-url="+url, "--redis-url="+servertest.Redis(b), "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms")
	number := func(query string) (n float64) {
		if err := db.SQL().QueryRowContext(b.Context(), query).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	var connections, oldest float64
	// load emits for a while, and looks at the server meanwhile.
	load := func(long time.Duration) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		looked := time.Now()
		for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
			at := time.Now().UnixMicro()
			if _, err := db.SQL().ExecContext(b.Context(), `INSERT INTO outbox (event_type, payload) SELECT 'quick:a', convert_to($1, 'UTF8') FROM generate_series(1, $2::int)`,
				fmt.Sprintf(`{"At": %d}`, at), perSecond/100); err != nil {
				b.Fatal(err)
			}
			if time.Since(looked) > 200*time.Millisecond {
				looked = time.Now()
				connections = max(connections, number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"))
				oldest = max(oldest, number("SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"))
			}
		}
	}
	drained := func(n int) {
		limit := time.Now().Add(time.Minute)
		for number("SELECT count(*) FROM outbox_sent s WHERE event_type LIKE 'quick:%' AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)")+number("SELECT count(*) FROM outbox WHERE event_type LIKE 'quick:%'") > 0 {
			if time.Now().After(limit) {
				b.Fatalf("round %d: not all are confirmed within a minute", n)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for range b.N {
		load(3 * time.Second) // until everything is warm
		drained(0)
		watch.reset()
		load(10 * time.Second)
		drained(1)
		alone, before := watch.reset(), connections
		connections, oldest = 0, 0
		for range 2 { // so many that some are under way until the end
			if _, err := db.SQL().ExecContext(b.Context(), `INSERT INTO outbox (event_type, payload) SELECT 'slow:a', '' FROM generate_series(1, $1::int)`, slow); err != nil {
				b.Fatal(err)
			}
		}
		for thinking.Load() < slow {
			time.Sleep(10 * time.Millisecond)
		}
		load(12 * time.Second)
		drained(2)
		beside := watch.reset()
		b.ReportMetric(percentile(alone, 0.5), "alone-p50-ms")
		b.ReportMetric(percentile(alone, 0.99), "alone-p99-ms")
		b.ReportMetric(percentile(beside, 0.5), "beside-p50-ms")
		b.ReportMetric(percentile(beside, 0.99), "beside-p99-ms")
		b.ReportMetric(before, "alone-connections")
		b.ReportMetric(connections, "beside-connections")
		b.ReportMetric(oldest, "oldest-xact-s")
		b.ReportMetric(float64(most.Load()), "under-way")
		b.ReportMetric(float64(len(beside)), "events")
	}
}
