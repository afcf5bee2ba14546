package relay_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
	"outboxd/relay"
	"outboxd/repository/confirm"
)

// Events of three keys, and others without one, go through a relay and a worker with a batch
// handler. Many events of a key are in one batch. One event in the middle fails, panics and breaks
// its connection before it succeeds, and so does every batch that has it. Each key's effects are in
// order, and each happens once.
func TestOrderHoldsInBatches(t *testing.T) {
	t.Parallel()
	const keys, each, bad = 3, 80, 31
	redisURL := servertest.Redis(t)
	f := newFixture(t, schematest.Database(t), redisURL, func(o *relay.Options) { o.PollInterval = 100 * time.Millisecond })
	f.exec("CREATE TABLE effects (place serial, event_id uuid, key text, n integer)")
	f.exec("UPDATE outbox_queue_identity SET history_seconds = 3600, history_since = now()")
	for n := range each {
		for key := range keys {
			f.exec("SELECT outboxd.emit('t', to_jsonb($1::integer), headers => jsonb_build_object('key', $2::text), ordering_key => $2)", n, "key"+strconv.Itoa(key))
		}
		f.exec("SELECT outboxd.emit('t', to_jsonb($1::integer), headers => '{\"key\": \"\"}')", n)
	}
	var alone, largest atomic.Int32
	handle := func(ctx context.Context, tx domain.Effects, tasks []work.Task) error {
		largest.Store(max(largest.Load(), int32(len(tasks))))
		for _, task := range tasks {
			n, err := strconv.Atoi(string(task.Payload))
			if err != nil {
				return err
			}
			if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects (event_id, key, n) VALUES ($1, $2, $3)", task.EventID, task.Headers["key"], n); err != nil {
				return err
			}
			if n != bad || task.Headers["key"] != "key1" || len(tasks) == 1 && alone.Add(1) > 1 {
				continue
			}
			switch {
			case len(tasks)%3 == 0:
				_, err = tx.Tx().ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
				return errors.Join(errors.New("the connection is gone"), err)
			case len(tasks)%3 == 1:
				panic("not now")
			default:
				return errors.New("not now")
			}
		}
		return nil
	}
	worker := work.New(work.Options{
		Redis: jobstest.OpenRedis(t, redisURL), Inbox: confirm.NewInbox(f.db), Batches: map[string]work.Batch{"t": {Handle: handle, Max: 50}},
		Concurrency: 20, Queues: map[string]int{domain.DefaultQueue: 1}, PollInterval: 10 * time.Millisecond,
		Drain: 5 * time.Second, Logger: servertest.Logger(t), Registry: prometheus.NewRegistry(),
	})
	f.start()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	f.eventually((keys+1)*each, "SELECT count(*) FROM effects JOIN inbox USING (event_id)")
	if n := f.count("SELECT count(*) - count(DISTINCT event_id) FROM effects"); n != 0 {
		t.Errorf("%d effects were doubled", n)
	}
	if n := f.count("SELECT count(*) FROM (SELECT n < max(n) OVER (PARTITION BY key ORDER BY place) AS late FROM effects WHERE key <> '') AS e WHERE late"); n != 0 {
		t.Errorf("%d effects came out of order", n)
	}
	f.eventually(0, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_held) + (SELECT count(*) FROM outbox_turns)")
	if largest.Load() < 20 {
		t.Errorf("the largest batch had %d events: nothing followed", largest.Load())
	}
}
