package work_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/migrations"
	"outboxd/repository/confirm"
)

// newShopBehind returns a shop whose worker reaches PostgreSQL only through a
// proxy.
func newShopBehind(t *testing.T, handlers map[string]work.Handler) (*shop, *faulttest.Proxy) {
	t.Helper()
	url := schematest.Database(t)
	proxy := faulttest.NewProxy(t, url)
	s := newShop(t, servertest.Redis(t), handlers)
	s.db = schematest.Connect(t, url)
	if _, err := migrations.Core().Up(t.Context(), s.db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.SQL().ExecContext(t.Context(), "CREATE TABLE effects (event_id uuid NOT NULL, payload text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	s.options.Inbox = confirm.NewInbox(schematest.Connect(t, proxy.URL()))
	return s, proxy
}

// backUncharged waits until each task has gone back to its queue, and checks that
// no attempt was charged: not even the last one.
func (s *shop) backUncharged(ids ...domain.ID) {
	s.t.Helper()
	for _, id := range ids {
		var info *asynq.TaskInfo
		servertest.Eventually(s.t, "task "+id.String()+" has gone back", func() bool {
			found, err := s.inspector.GetTaskInfo("default", id.String())
			info = found
			return err == nil && (info.State == asynq.TaskStateRetry || info.State == asynq.TaskStateArchived)
		})
		if info.Retried != 0 || info.State != asynq.TaskStateRetry {
			s.t.Errorf("task %s is in state %s, charged %d attempts: %s", id, info.State, info.Retried, info.LastErr)
		}
	}
}

// An effect is made outside the database. From that moment PostgreSQL cannot be
// reached, until long after the time of the task. The effect is not repeated, and
// no attempt is charged.
func TestAnOutageAfterAnEffectOutsideIsWaitedFor(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	both := make(chan struct{})
	s, proxy := newShopBehind(t, nil)
	s.options.Outward = map[string]work.Outward{"mail": func(_ context.Context, task work.Task) (work.Record, error) {
		if calls.Add(1) == 2 { // both effects are made before the database stops
			proxy.Refuse()
			close(both)
		}
		<-both
		return note(task), nil
	}}
	for i, retries := range []int{0, 5} {
		s.enqueue("mail", newID(byte(i+1)).String(), nil, asynq.MaxRetry(retries), asynq.Timeout(10*time.Second), asynq.Retention(time.Hour))
	}
	s.start()
	s.backUncharged(newID(1), newID(2))
	proxy.Resume()
	servertest.Eventually(t, "both are confirmed", func() bool { return s.count("SELECT count(*) FROM effects JOIN inbox USING (event_id)") == 2 })
	for _, id := range []domain.ID{newID(1), newID(2)} {
		completed := s.state("default", id.String())
		servertest.Eventually(t, "task "+id.String()+" is done", func() bool { return completed(asynq.TaskStateCompleted) })
	}
	if calls.Load() != 2 {
		t.Errorf("%d effects of two events", calls.Load())
	}
}

// The connection breaks while an outside effect is being confirmed. Only the
// confirmation is repeated.
func TestABrokenConfirmationIsRepeatedWithoutTheEffect(t *testing.T) {
	t.Parallel()
	var calls, notes atomic.Int32
	s, proxy := newShopBehind(t, nil)
	s.options.Outward = map[string]work.Outward{"mail": func(_ context.Context, task work.Task) (work.Record, error) {
		calls.Add(1)
		return func(ctx context.Context, tx domain.Effects) error {
			if notes.Add(1) <= 3 {
				proxy.Reset()
			}
			return note(task)(ctx, tx)
		}, nil
	}}
	s.enqueue("mail", newID(1).String(), nil, asynq.MaxRetry(3), asynq.Retention(time.Hour))
	s.start()
	servertest.Eventually(t, "it is confirmed", func() bool { return s.count("SELECT count(*) FROM effects JOIN inbox USING (event_id)") == 1 })
	completed := s.state("default", newID(1).String())
	servertest.Eventually(t, "the task is done", func() bool { return completed(asynq.TaskStateCompleted) })
	if info, err := s.inspector.GetTaskInfo("default", newID(1).String()); err != nil || info.Retried != 0 || calls.Load() != 1 {
		t.Errorf("%d effects, %+v, %v", calls.Load(), info, err)
	}
}

// PostgreSQL is away for longer than the timeout of two tasks. One of the tasks is on
// its last attempt.
func TestAnOutageThatOutlastsATaskCostsNoAttempt(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	s, proxy := newShopBehind(t, map[string]work.Handler{"test:a": l.handle})
	proxy.Refuse()
	for i, retries := range []int{0, 5} {
		s.enqueue("test:a", newID(byte(i+1)).String(), nil, asynq.MaxRetry(retries), asynq.Timeout(10*time.Second), asynq.Retention(time.Hour))
	}
	s.start()
	s.backUncharged(newID(1), newID(2))
	proxy.Resume()
	servertest.Eventually(t, "both took effect", func() bool { return s.count("SELECT count(*) FROM effects JOIN inbox USING (event_id)") == 2 })
	if n := l.count(); n != 2 {
		t.Errorf("%d runs of two handlers", n)
	}
}
