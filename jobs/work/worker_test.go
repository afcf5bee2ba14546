package work_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
	"outboxd/migrations"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
)

// shop is a worker on a real PostgreSQL and a real Redis.
type shop struct {
	t         *testing.T
	db        *postgres.Database
	redis     *redis.Client
	inspector *asynq.Inspector
	client    *asynq.Client
	registry  *prometheus.Registry
	options   work.Options
}

func newShop(t *testing.T, redisURL string, handlers map[string]work.Handler) *shop {
	t.Helper()
	handle := jobstest.OpenRedis(t, redisURL)
	client := handle.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	db := schematest.Open(t)
	if _, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE effects (event_id uuid NOT NULL, payload text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	return &shop{
		t: t, db: db, redis: client, registry: registry,
		inspector: asynq.NewInspectorFromRedisClient(client), client: asynq.NewClientFromRedisClient(client),
		options: work.Options{
			Redis: handle, Inbox: confirm.NewInbox(db), Handlers: handlers,
			Concurrency: 4, Queues: map[string]int{"default": 2, "low": 1}, PollInterval: 5 * time.Millisecond,
			Drain: 5 * time.Second, Logger: servertest.Logger(t), Registry: registry,
		},
	}
}

// start runs the worker until the returned function is called or the test ends.
func (s *shop) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	worker := work.New(s.options)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the worker: %v", err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *shop) enqueue(taskType, id string, payload []byte, options ...asynq.Option) {
	s.t.Helper()
	_, err := s.client.EnqueueContext(s.t.Context(), asynq.NewTask(taskType, payload), append(options, asynq.TaskID(id))...)
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) state(queue, id string) func(asynq.TaskState) bool {
	return func(want asynq.TaskState) bool {
		info, err := s.inspector.GetTaskInfo(queue, id)
		return err == nil && info.State == want
	}
}

func (s *shop) outcomes(taskType, outcome string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); family.GetName() == "outboxd_worker_tasks_total" && l[0].GetValue() == outcome && l[1].GetValue() == taskType {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func newID(n byte) domain.ID { return domain.ID{0x01, 0x90, 6: 0x70, 8: 0x80, 15: n} }

// ledger is a handler whose effect is a row. fail, unless nil, returns the
// error of the n-th run.
type ledger struct {
	mu   sync.Mutex
	runs int
	fail func(n int) error
}

func (l *ledger) handle(ctx context.Context, tx domain.Effects, task work.Task) error {
	if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects (event_id, payload) VALUES ($1, $2)", task.EventID, string(task.Payload)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs++
	if l.fail != nil {
		return l.fail(l.runs)
	}
	return nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs
}

// effects counts the rows that ledgers wrote, of one event and payload.
func (s *shop) effects(event domain.ID, payload string) (n int) {
	s.t.Helper()
	if err := s.db.SQL().QueryRowContext(s.t.Context(), "SELECT count(*) FROM effects WHERE event_id = $1 AND payload = $2", event, payload).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestAnEffectHappensOnce(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": l.handle})
	s.start()
	id := newID(1)
	s.enqueue("test:a", id.String(), []byte("p"))
	servertest.Eventually(t, "the effect is there", func() bool { return s.effects(id, "p") == 1 })
	// The task is delivered again: once as Asynq does after a lost lease, and once after a replay.
	for n, again := range []string{id.String(), id.String() + ".1"} {
		servertest.Eventually(t, "the task is gone", func() bool {
			_, err := s.inspector.GetTaskInfo("default", again)
			return errors.Is(err, asynq.ErrTaskNotFound)
		})
		s.enqueue("test:a", again, []byte("p"))
		servertest.Eventually(t, "the repeat is counted", func() bool { return s.outcomes("test:a", "repeated") == float64(n+1) })
	}
	if n := l.count(); n != 1 || s.effects(id, "p") != 1 {
		t.Errorf("%d runs and %d effects, want one each", n, s.effects(id, "p"))
	}
	if n, err := testutil.GatherAndCount(s.registry, "outboxd_worker_event_done_seconds"); err != nil || n != 1 {
		t.Errorf("the end-to-end histogram: %d, %v", n, err)
	}
}

func TestWhatCannotSucceedIsArchivedAtOnce(t *testing.T) {
	t.Parallel()
	l := &ledger{fail: func(int) error { return domain.Errorf(domain.CodeInvalid, "no such mailbox") }}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": l.handle})
	tests := []struct{ id, want string }{
		{newID(1).String(), "no such mailbox"},
		{"by-hand", "not relayed from the outbox"},
	}
	for _, test := range tests {
		s.enqueue("test:a", test.id, nil, asynq.MaxRetry(5))
	}
	s.start()
	for _, test := range tests {
		archived := s.state("default", test.id)
		servertest.Eventually(t, test.id+" is archived", func() bool { return archived(asynq.TaskStateArchived) })
		info, err := s.inspector.GetTaskInfo("default", test.id)
		if err != nil {
			t.Fatal(err)
		}
		if info.Retried != 0 || !strings.Contains(info.LastErr, test.want) {
			t.Errorf("%s: retried %d times, error %q, want one with %q", test.id, info.Retried, info.LastErr, test.want)
		}
	}
	if n := l.count(); n != 1 || s.effects(newID(1), "") != 0 {
		t.Errorf("%d runs and %d effects, want one run without effect", n, s.effects(newID(1), ""))
	}
}

func TestAFailedTaskIsRetriedWhenTheReceiverAsks(t *testing.T) {
	t.Parallel()
	l := &ledger{fail: func(n int) error {
		if n == 1 {
			return &domain.Error{Code: domain.CodeUnavailable, Message: "busy", RetryAfter: time.Second}
		}
		return nil
	}}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": l.handle})
	s.start()
	s.enqueue("test:a", newID(1).String(), nil)
	servertest.Eventually(t, "the effect is there", func() bool { return s.effects(newID(1), "") == 1 })
	if n := l.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	servertest.Eventually(t, "one failure and one success are counted", func() bool {
		return s.outcomes("test:a", "failed") == 1 && s.outcomes("test:a", "done") == 1
	})
}

// A panic is a failure like any other, and leaves no trace in the database.
func TestAPanicIsRolledBack(t *testing.T) {
	t.Parallel()
	l := &ledger{fail: func(int) error { panic("in the handler") }}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:panic": l.handle})
	s.start()
	id := newID(1)
	s.enqueue("test:panic", id.String(), nil, asynq.MaxRetry(0))
	archived := s.state("default", id.String())
	servertest.Eventually(t, "the task is archived", func() bool { return archived(asynq.TaskStateArchived) })
	if s.effects(id, "") != 0 {
		t.Error("the panicking handler's change was kept")
	}
	info, err := s.inspector.GetTaskInfo("default", id.String())
	if err != nil || !strings.Contains(info.LastErr, "in the handler") {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestTheWorkerWaitsForRedisAndRunsAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newShop(t, server.URL(), map[string]work.Handler{"test:a": new(ledger).handle})
	s.enqueue("test:a", newID(1).String(), nil)
	server.Kill()
	s.start()
	server.Start()
	servertest.Eventually(t, "the effect is there", func() bool { return s.effects(newID(1), "") == 1 })
}

// A task that runs when the worker is stopped is finished first.
func TestStoppingFinishesTheTask(t *testing.T) {
	t.Parallel()
	running, finish := make(chan struct{}), make(chan struct{})
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:slow": func(context.Context, domain.Effects, work.Task) error {
		close(running)
		<-finish
		return nil
	}})
	stop := s.start()
	s.enqueue("test:slow", newID(1).String(), nil)
	<-running
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	if n := s.outcomes("test:slow", "done"); n != 1 {
		t.Errorf("%v tasks done, want 1", n)
	}
}

// A database that is away costs tasks time and no attempt.
func TestTasksWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := schematest.Connect(t, server.URL())
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{
		"test:a": func(context.Context, domain.Effects, work.Task) error { return nil },
	})
	asked := make(chan struct{}, 100)
	s.options.Inbox = &watchedInbox{confirm.NewInbox(db), asked}
	server.Stop()
	stop := s.start()
	s.enqueue("test:a", newID(1).String(), nil, asynq.MaxRetry(0), asynq.Retention(time.Hour))
	s.enqueue("test:a", newID(2).String(), nil, asynq.MaxRetry(1), asynq.Retention(time.Hour))
	for range 6 {
		<-asked
	}
	stop() // both go back to the queue at once, although the first is on its last attempt
	for _, id := range []string{newID(1).String(), newID(2).String()} {
		info, err := s.inspector.GetTaskInfo("default", id)
		if err != nil || info.Retried != 0 || info.State == asynq.TaskStateArchived {
			t.Errorf("task %s after a stop: %+v, %v, want one that is still to be done", id, info, err)
		}
	}
	s.options.Registry = prometheus.NewRegistry()
	s.start()
	<-asked
	server.Start()
	for _, id := range []string{newID(1).String(), newID(2).String()} {
		completed := s.state("default", id)
		servertest.Eventually(t, "task "+id+" is done", func() bool { return completed(asynq.TaskStateCompleted) })
	}
}

// watchedInbox sends to the channel asked whenever Process has returned.
type watchedInbox struct {
	domain.Inbox
	asked chan struct{}
}

func (i *watchedInbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	defer func() {
		select {
		case i.asked <- struct{}{}:
		default:
		}
	}()
	return i.Inbox.Process(ctx, id, effect)
}
