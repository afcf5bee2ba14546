package relay_test

import (
	"log/slog"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/jobs/inspect"
	"outboxd/relay"
)

// If a consumer does not keep up, the newer events of its queue wait in the database, and the
// events of other queues go on.
func TestAFullQueueKeepsItsEventsInTheDatabase(t *testing.T) {
	t.Parallel()
	const bound, batch, waiting = 100, 20, 400
	redisURL := servertest.Redis(t)
	f := newFixture(t, schematest.Database(t), redisURL, func(o *relay.Options) {
		o.MaxQueue = map[string]int{"default": bound}
		o.Lengths = inspect.NewOverviews(openRedis(t, redisURL))
		o.BatchSize = batch
	})
	f.start()
	f.exec(emitMany, waiting)
	f.exec(`INSERT INTO outbox (event_type, payload, queue) SELECT 'test:low', '', 'low' FROM generate_series(1, 150)`)
	f.eventually(0, "SELECT count(*) FROM outbox WHERE queue = 'low'")
	if n := len(f.tasks("low")); n != 150 {
		t.Errorf("%d tasks in the other queue, want 150", n)
	}

	// The consumer takes some tasks now and then, until all tasks have been in the queue.
	seen, most, knownFull := map[string]bool{}, 0, false
	deadline := time.NewTimer(servertest.Patience)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for len(seen) < waiting {
		tasks := f.tasks("default")
		most = max(most, len(tasks))
		knownFull = knownFull || f.counter("outboxd_relay_queue_full", "queue", "default") == 1 && len(tasks) >= bound
		if full := len(tasks) >= bound; full || f.count("SELECT count(*) FROM outbox") == 0 {
			if f.count("SELECT count(*) FROM outbox") == waiting-bound {
				if n := f.count("SELECT count(*) FROM outbox WHERE event_type = 'test:1'"); n != 0 {
					t.Error("the oldest event waits behind younger ones")
				}
			}
			for id := range tasks {
				seen[id] = true
			}
			if err := f.redis.Del(t.Context(), "asynq:{default}:pending").Err(); err != nil {
				t.Fatal(err)
			}
			for id := range tasks {
				if err := f.redis.Del(t.Context(), "asynq:{default}:t:"+id).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("%d of %d events have been in the queue", len(seen), waiting)
		}
	}
	if limit := bound + f.options.Concurrency*batch; most > limit {
		t.Errorf("the queue held up to %d tasks, want at most %d", most, limit)
	}
	if !knownFull {
		t.Error("the queue was never known to be full")
	}
	t.Logf("the queue held up to %d tasks, bound %d", most, bound)
}

// A queue that is full when the process starts is logged as full.
func TestAQueueThatIsFullAtTheStartIsLogged(t *testing.T) {
	t.Parallel()
	const bound = 10
	redisURL, log := servertest.Redis(t), &journal{}
	f := newFixture(t, schematest.Database(t), redisURL, func(o *relay.Options) {
		o.MaxQueue = map[string]int{"default": bound}
		o.Lengths = inspect.NewOverviews(openRedis(t, redisURL))
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	for range bound {
		if err := f.redis.LPush(t.Context(), "asynq:{default}:pending", "task").Err(); err != nil {
			t.Fatal(err)
		}
	}
	f.start()
	servertest.Eventually(t, "the log says that the queue is full", func() bool { return log.count("a queue is full") == 1 })
}
