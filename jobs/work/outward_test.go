package work_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// note records an event's effect in the transaction that confirms it.
func note(task work.Task) work.Record {
	return func(ctx context.Context, tx domain.Effects) error {
		_, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES ($1, $2)", task.EventID, string(task.Payload))
		return err
	}
}

// While effects outside the database go on, no connection is in use and no
// transaction is open, however many effects there are.
func TestAnEffectOutsideHoldsNoConnection(t *testing.T) {
	t.Parallel()
	const tasks = 40
	var running atomic.Int32
	release := make(chan struct{})
	s := newShop(t, servertest.Redis(t), nil)
	s.options.Concurrency = tasks
	s.options.Outward = map[string]work.Outward{"slow": func(_ context.Context, task work.Task) (work.Record, error) {
		running.Add(1)
		<-release
		return note(task), nil
	}}
	for i := range tasks {
		s.enqueue("slow", domain.ID{1, 15: byte(i)}.String(), []byte("x"))
	}
	s.start()
	servertest.Eventually(t, "all are under way", func() bool { return running.Load() == tasks })
	servertest.Eventually(t, "no connection is in use", func() bool { return s.db.Pool().Stat().AcquiredConns() == 0 })
	if n := s.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"); n > 0 {
		t.Errorf("%d transactions are open", n)
	}
	close(release)
	servertest.Eventually(t, "all are confirmed", func() bool { return s.count("SELECT count(*) FROM effects JOIN inbox USING (event_id)") == tasks })
}

// Redis lost the first task of an event and has a second one. The second waits for the
// first, and finds the event confirmed.
func TestAnEffectOutsideDoesNotRunTwiceAtOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	begun, release := make(chan struct{}, 2), make(chan struct{})
	s := newShop(t, servertest.Redis(t), nil)
	s.options.Outward = map[string]work.Outward{"slow": func(_ context.Context, task work.Task) (work.Record, error) {
		calls.Add(1)
		begun <- struct{}{}
		<-release
		return note(task), nil
	}}
	id := domain.ID{2, 15: 1}
	s.enqueue("slow", id.String(), nil)
	s.start()
	<-begun
	s.enqueue("slow", id.String()+".1", nil)
	servertest.Eventually(t, "both are active", func() bool {
		active, err := s.inspector.ListActiveTasks("default")
		return err == nil && len(active) == 2
	})
	close(release)
	servertest.Eventually(t, "both have ended", func() bool {
		info, err := s.inspector.GetQueueInfo("default")
		return err == nil && info.Size == 0
	})
	if calls.Load() != 1 || s.count("SELECT count(*) FROM effects") != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

// A handler may refuse, fail or postpone. The first two end as with every handler. A
// postponement uses up no attempt, not even the last one.
func TestHowAnEffectOutsideFails(t *testing.T) {
	t.Parallel()
	var postponed atomic.Int32
	attempts := make(chan int, 10)
	s := newShop(t, servertest.Redis(t), nil)
	s.options.Any, s.options.Name = func(_ context.Context, task work.Task) (work.Record, error) {
		switch task.Type {
		case "refused":
			return nil, domain.Errorf(domain.CodeInvalid, "no")
		case "postponed":
			attempts <- task.Attempt
			if postponed.Add(1) < 3 {
				return nil, &work.Postponed{Err: errors.New("down"), Delay: time.Millisecond}
			}
		}
		return note(task), nil
	}, "deliveries"
	for kind, retries := range map[string]int{"refused": 2, "postponed": 0, "any other": 2} {
		s.enqueue(kind, domain.ID{3, 15: kind[0]}.String(), nil, asynq.MaxRetry(retries))
	}
	s.start()
	servertest.Eventually(t, "two took effect", func() bool { return s.count("SELECT count(*) FROM effects") == 2 })
	servertest.Eventually(t, "one is archived", func() bool {
		info, err := s.inspector.GetQueueInfo("default")
		return err == nil && info.Archived == 1
	})
	for range 3 {
		if n := <-attempts; n != 1 {
			t.Errorf("a postponed attempt is number %d of its task, want 1", n)
		}
	}
	if s.outcomes("deliveries", "postponed") != 2 || s.outcomes("deliveries", "done") != 2 || s.outcomes("refused", "failed") != 0 {
		t.Error("the tasks of all types count under one name")
	}
}

// gate is a Gate that is opened and closed by hand.
type gate struct {
	mu    sync.Mutex
	pause time.Duration
	took  int
}

func (g *gate) set(pause time.Duration) { g.mu.Lock(); g.pause = pause; g.mu.Unlock() }

func (g *gate) Pause() time.Duration { g.mu.Lock(); defer g.mu.Unlock(); return g.pause }

func (g *gate) Took() { g.mu.Lock(); g.took++; g.mu.Unlock() }

func TestAClosedGateLeavesTasksInTheirQueue(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), nil)
	closed := &gate{pause: time.Hour}
	s.options.Gate = closed
	s.options.Any = func(_ context.Context, task work.Task) (work.Record, error) { return note(task), nil }
	for i := range 5 {
		s.enqueue("x", domain.ID{4, 15: byte(i)}.String(), nil)
	}
	s.start()
	info, err := s.inspector.GetQueueInfo("default")
	if err != nil || info.Pending != 5 {
		t.Errorf("%+v, %v", info, err)
	}
	closed.set(0)
	servertest.Eventually(t, "all took effect", func() bool { return s.count("SELECT count(*) FROM effects") == 5 })
	closed.mu.Lock()
	defer closed.mu.Unlock()
	if closed.took != 5 {
		t.Errorf("the gate was told of %d tasks", closed.took)
	}
}
