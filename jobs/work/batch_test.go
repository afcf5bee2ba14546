package work_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/bench/distance"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/migrations"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
)

// batches is a batch handler whose effects are rows, one for each task. It notes how
// large its batches were.
type batches struct {
	mu    sync.Mutex
	sizes []int
	// The function disturb, unless nil, is called before the effects.
	disturb func(ctx context.Context, tx domain.Effects, tasks []work.Task) error
}

func (b *batches) handle(ctx context.Context, tx domain.Effects, tasks []work.Task) error {
	b.mu.Lock()
	b.sizes = append(b.sizes, len(tasks))
	b.mu.Unlock()
	if b.disturb != nil {
		if err := b.disturb(ctx, tx, tasks); err != nil {
			return err
		}
	}
	for _, task := range tasks {
		if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES ($1, $2)", task.EventID, string(task.Payload)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batches) largest() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Max(append(b.sizes, 0))
}

// newBatchShop returns a shop whose tasks of the type "batch" wait until all places of the worker
// are taken by them.
func newBatchShop(t *testing.T, b *batches, places int) *shop {
	t.Helper()
	s := newShop(t, servertest.Redis(t), nil)
	s.options.Concurrency = places
	s.options.Batches = map[string]work.Batch{"batch": {Handle: b.handle, Max: places, Wait: time.Hour}}
	return s
}

// settled waits until that many events took effect and no task is left, and checks that each effect
// is there once.
func (s *shop) settled(effects int) {
	s.t.Helper()
	servertest.Eventually(s.t, fmt.Sprintf("%d took effect", effects), func() bool { return s.count("SELECT count(*) FROM effects JOIN inbox USING (event_id)") >= effects })
	servertest.Eventually(s.t, "no task is on its way", func() bool {
		info, err := s.inspector.GetQueueInfo("default")
		return err == nil && info.Active+info.Pending+info.Retry == 0
	})
	if all, different := s.count("SELECT count(*) FROM effects"), s.count("SELECT count(DISTINCT event_id) FROM effects"); all != effects || different != effects {
		s.t.Errorf("%d effects of %d events, want %d", all, different, effects)
	}
}

func has(tasks []work.Task, id domain.ID) bool {
	return slices.ContainsFunc(tasks, func(task work.Task) bool { return task.EventID == id })
}

// One bad event among many fails alone, whatever it does: return an error, panic, end its
// goroutine, break the connection, or take all the time that it has.
func TestOneBadEventAmongMany(t *testing.T) {
	t.Parallel()
	bad := newID(7)
	for name, harm := range map[string]func(ctx context.Context, tx domain.Effects) error{
		"error": func(context.Context, domain.Effects) error { return errors.New("not this one") },
		"panic": func(context.Context, domain.Effects) error { panic("not this one") },
		"its goroutine": func(context.Context, domain.Effects) error {
			runtime.Goexit()
			return nil
		},
		"a statement that fails": func(ctx context.Context, tx domain.Effects) error {
			_, err := tx.Tx().ExecContext(ctx, "SELECT 1/0")
			return err
		},
		"a failed transaction that nobody noticed": func(ctx context.Context, tx domain.Effects) error {
			_, _ = tx.Tx().ExecContext(ctx, "SELECT 1/0")
			return nil
		},
		"its connection": func(ctx context.Context, tx domain.Effects) error {
			_, err := tx.Tx().ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return errors.Join(errors.New("the connection is gone"), err)
		},
		"its time": func(ctx context.Context, _ domain.Effects) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const tasks = 20
			b := &batches{}
			b.disturb = func(ctx context.Context, tx domain.Effects, tasks []work.Task) error {
				if has(tasks, bad) {
					return harm(ctx, tx)
				}
				return nil
			}
			s := newBatchShop(t, b, tasks)
			for n := range tasks {
				options := []asynq.Option{asynq.MaxRetry(3), asynq.Retention(time.Hour)}
				if id := newID(byte(n)); id == bad {
					options = []asynq.Option{asynq.MaxRetry(0), asynq.Timeout(3 * time.Second)}
				}
				s.enqueue("batch", newID(byte(n)).String(), []byte("x"), options...)
			}
			s.start()
			s.settled(tasks - 1)
			servertest.Eventually(t, "the bad one is archived", func() bool { return s.state("default", bad.String())(asynq.TaskStateArchived) })
			for n := range tasks {
				info, err := s.inspector.GetTaskInfo("default", newID(byte(n)).String())
				if err != nil || newID(byte(n)) != bad && (info.Retried != 0 || info.State != asynq.TaskStateCompleted) {
					t.Errorf("task %d: %+v, %v", n, info, err)
				}
			}
			if b.largest() != tasks {
				t.Errorf("batches of %v, want one of %d", b.sizes, tasks)
			}
		})
	}
}

// An event that is in a batch twice, or took effect before, takes effect once, and its other tasks
// succeed too.
func TestRepeatsInABatch(t *testing.T) {
	t.Parallel()
	b := &batches{}
	s := newBatchShop(t, b, 6)
	if _, err := s.options.Inbox.Process(t.Context(), newID(1), func(ctx context.Context, tx domain.Effects) error {
		return b.handle(ctx, tx, []work.Task{{EventID: newID(1)}})
	}); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		s.enqueue("batch", newID(byte(n)).String(), []byte("x"))
	}
	s.enqueue("batch", newID(2).String()+".1", []byte("x"))
	s.enqueue("batch", newID(2).String()+".2", []byte("x"))
	s.start()
	s.settled(4)
	if done, repeated := s.outcomes("batch", "done"), s.outcomes("batch", "repeated"); done != 3 || repeated != 3 {
		t.Errorf("%v done and %v repeated, want 3 and 3", done, repeated)
	}
	if b.largest() != 3 {
		t.Errorf("batches of %v, want one of 3 at most", b.sizes)
	}
}

// A worker that stops does not wait for the rest of a batch.
func TestAHalfFullBatchAtTheEnd(t *testing.T) {
	t.Parallel()
	b := &batches{}
	s := newBatchShop(t, b, 10)
	last := make(chan struct{})
	s.options.Handlers = map[string]work.Handler{"test:last": func(context.Context, domain.Effects, work.Task) error { close(last); return nil }}
	for n := range 3 {
		s.enqueue("batch", newID(byte(n)).String(), []byte("x"))
	}
	s.enqueue("test:last", newID(3).String(), nil)
	stop := s.start()
	// When the worker stops, an active task that was not handed to its handler goes
	// back to its queue. The tasks before one that runs were handed over.
	select {
	case <-last:
	case <-time.After(servertest.Patience):
		t.Fatal("the last task does not run")
	}
	if b.largest() != 0 {
		t.Error("the batch did not wait for others")
	}
	stop() // the end must hurry the batch, or its tasks go back to their queue
	s.settled(3)
}

// PostgreSQL goes away while a batch is under way, and comes back. That costs no
// task an attempt.
func TestAnOutageDuringABatch(t *testing.T) {
	t.Parallel()
	const tasks = 8
	server := postgrestest.Start(t)
	db := schematest.Connect(t, server.URL())
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	b := &batches{}
	b.disturb = func(context.Context, domain.Effects, []work.Task) error { once.Do(server.Stop); return nil }
	s := newBatchShop(t, b, tasks)
	s.db = db
	if _, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE effects (event_id uuid NOT NULL, payload text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	s.options.Inbox = &watchedInbox{confirm.NewInbox(db), asked}
	for n := range tasks {
		s.enqueue("batch", newID(byte(n)).String(), []byte("x"), asynq.MaxRetry(0), asynq.Retention(time.Hour))
	}
	s.start()
	for range 2 * tasks { // each task asks alone; on average twice
		<-asked
	}
	server.Start()
	s.settled(tasks)
	for n := range tasks {
		if info, err := s.inspector.GetTaskInfo("default", newID(byte(n)).String()); err != nil || info.Retried != 0 || info.State != asynq.TaskStateCompleted {
			t.Errorf("task %d: %+v, %v", n, info, err)
		}
	}
}

// A batch handler gets the tasks of one queue, the oldest event first. A task that is
// tried again comes alone.
func TestWhatIsInABatch(t *testing.T) {
	t.Parallel()
	var fails atomic.Bool
	fails.Store(true)
	var alone atomic.Int32
	b := &batches{}
	b.disturb = func(_ context.Context, _ domain.Effects, tasks []work.Task) error {
		for i, task := range tasks {
			if string(task.Payload) != string(tasks[0].Payload) {
				t.Errorf("queues %s and %s are in one batch", tasks[0].Payload, task.Payload)
			}
			if task.Attempt != 1 && len(tasks) > 1 {
				t.Errorf("attempt %d is in a batch of %d", task.Attempt, len(tasks))
			}
			if i > 0 && task.EventID.String() < tasks[i-1].EventID.String() {
				t.Errorf("%s came behind %s", task.EventID, tasks[i-1].EventID)
			}
			if task.EventID == newID(3) && fails.Load() {
				if len(tasks) == 1 {
					alone.Add(1)
					fails.Store(false)
				}
				return errors.New("the first time")
			}
		}
		return nil
	}
	s := newBatchShop(t, b, 8)
	s.options.Batches["batch"] = work.Batch{Handle: b.handle, Max: 4, Wait: time.Hour}
	for n := range 4 {
		s.enqueue("batch", newID(byte(n)).String(), []byte("default"), asynq.MaxRetry(5))
		s.enqueue("batch", newID(byte(100+n)).String(), []byte("low"), asynq.Queue("low"))
	}
	s.start()
	s.settled(8)
	if alone.Load() != 1 {
		t.Errorf("the one that failed was tried alone %d times in vain, want 1", alone.Load())
	}
}

// A database that is far away has more batches at the same time than there are processors: as
// many as have to meet here before any of them ends.
func TestMoreBatchesRunForADatabaseThatIsFarAway(t *testing.T) {
	t.Parallel()
	together := max(runtime.GOMAXPROCS(0), 2) + 1
	b := &batches{}
	s := newBatchShop(t, b, together)
	shared := work.Together(func(ctx context.Context, tx domain.Effects, task work.Task) error {
		return b.handle(ctx, tx, []work.Task{task})
	})
	shared.Max = 1
	s.options.Batches["batch"] = shared
	proxy, url, err := distance.Postgres(t.Context(), s.db.Pool().Pool, time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	far, err := postgres.Open(t.Context(), postgres.Options{URL: url, Schema: s.db.Schema(), MaxConns: together, ConnectTimeout: time.Minute, Logger: servertest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	s.options.Inbox = confirm.NewInbox(far)
	const first = 8 // tasks whose batches measure the round trip
	var met atomic.Int64
	all := make(chan struct{})
	b.disturb = func(ctx context.Context, _ domain.Effects, tasks []work.Task) error {
		if len(tasks[0].Payload) == 0 {
			return nil
		}
		if met.Add(1) == int64(together) {
			close(all)
		}
		select {
		case <-all:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.start()
	for n := range first {
		s.enqueue("batch", newID(byte(n)).String(), nil)
	}
	s.settled(first)
	for n := range together {
		s.enqueue("batch", newID(byte(first+n)).String(), []byte("meet"))
	}
	s.settled(first + together)
}
