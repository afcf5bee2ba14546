package work_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/servertest"
	"outboxd/client/acknowledge"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/repository"
	"outboxd/repository/deadletters"
)

// emitSent emits an event and records it as enqueued. No task is made.
func (s *shop) emitSent(name string) domain.ID {
	s.t.Helper()
	var id domain.ID
	err := s.db.SQL().QueryRowContext(s.t.Context(), "SELECT outboxd.emit($1, '{}', max_retry => 1)", name).Scan(&id)
	if err != nil {
		s.t.Fatal(err)
	}
	store := repository.NewOutbox(s.db, repository.OutboxOptions{History: true})
	batch, err := store.Claim(s.t.Context(), domain.Cursor{}, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := batch.Commit(s.t.Context(), []domain.Outcome{{Verdict: domain.Delivered}}); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *shop) letter(id domain.ID) *domain.DeadLetter {
	s.t.Helper()
	list, err := deadletters.New(s.db).List(s.t.Context(), domain.DeadFilter{IDs: []domain.ID{id}}, domain.Cursor{}, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

func (s *shop) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.db.SQL().QueryRowContext(s.t.Context(), query, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestATaskThatIsGivenUpIsADeadLetter(t *testing.T) {
	t.Parallel()
	failures := map[string]error{
		"test:skip":  domain.Errorf(domain.CodeInvalid, "no such mailbox"),
		"test:retry": &domain.Error{Code: domain.CodeInternal, Message: "broken", RetryAfter: time.Millisecond},
	}
	handlers := map[string]work.Handler{
		"test:slow": func(ctx context.Context, _ domain.Effects, _ work.Task) error { <-ctx.Done(); return ctx.Err() },
	}
	for name, err := range failures {
		handlers[name] = func(context.Context, domain.Effects, work.Task) error { return err }
	}
	s := newShop(t, servertest.Redis(t), handlers)
	s.options.Failures = deadletters.NewFailedTasks(s.db, true)
	cases := []struct {
		name, says string
		attempts   int
		options    []asynq.Option
		journal    string
	}{
		{"test:skip", "no such mailbox", 1, []asynq.Option{asynq.MaxRetry(5)}, "died"},
		{"test:retry", "broken", 2, []asynq.Option{asynq.MaxRetry(1)}, "failed died"},
		{"test:slow", "deadline", 1, []asynq.Option{asynq.MaxRetry(0), asynq.Timeout(time.Second)}, "died"},
	}
	ids := map[string]domain.ID{}
	for _, c := range cases {
		ids[c.name] = s.emitSent(c.name)
		s.enqueue(c.name, ids[c.name].String(), nil, c.options...)
	}
	s.start()
	for _, c := range cases {
		id := ids[c.name]
		archived := s.state("default", id.String())
		servertest.Eventually(t, c.name+" is archived", func() bool { return archived(asynq.TaskStateArchived) })
		// The event is a dead letter before its task is in the archive.
		dead := s.letter(id)
		if dead == nil || dead.Stage != domain.StageWorker || dead.Attempts != c.attempts || !strings.Contains(dead.Error, c.says) || string(dead.Payload) != "{}" {
			t.Errorf("%s: the dead letter is %+v", c.name, dead)
		}
		if n := s.count("SELECT count(*) FROM outbox_sent WHERE id = $1", id); n != 0 {
			t.Errorf("%s is in the history too", c.name)
		}
		var journal string
		err := s.db.SQL().QueryRowContext(t.Context(), "SELECT string_agg(entry, ' ' ORDER BY at) FROM outbox_journal WHERE event_id = $1", id).Scan(&journal)
		if err != nil || journal != c.journal {
			t.Errorf("%s: the journal says %q, %v, want %q", c.name, journal, err, c.journal)
		}
	}
}

// Other programs may use the same Redis. A task whose ID Asynq chose is not taken for an event: its handler does not
// run, nothing is confirmed, and no dead letter is made. Events may have such IDs too; their tasks have the relay's
// header.
func TestATaskOfAnotherProgramIsNoEvent(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": l.handle})
	s.options.Failures = deadletters.NewFailedTasks(s.db, true)
	foreign, err := s.client.EnqueueContext(t.Context(), asynq.NewTask("test:a", nil))
	if err != nil {
		t.Fatal(err)
	}
	event := newID(1)
	event[6] = 0x40
	marked := asynq.NewTaskWithHeaders("test:a", nil, map[string]string{acknowledge.Header: "mark"})
	if _, err := s.client.EnqueueContext(t.Context(), marked, asynq.TaskID(event.String())); err != nil {
		t.Fatal(err)
	}
	s.start()
	archived := s.state("default", foreign.ID)
	servertest.Eventually(t, "the task of another program is archived", func() bool { return archived(asynq.TaskStateArchived) })
	servertest.Eventually(t, "the event took effect", func() bool { return s.effects(event, "") == 1 })
	if n := l.count(); n != 1 {
		t.Errorf("the handler ran %d times, want once", n)
	}
	if n := s.count("SELECT count(*) FROM inbox"); n != 1 {
		t.Errorf("%d events are confirmed, want 1", n)
	}
	if n := s.count("SELECT count(*) FROM outbox_dead"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// If a task has the ID of a delivery and does not name the event that it delivers, the worker makes no dead
// letter: the outbox would refuse to take it back.
func TestADeliveryWithoutItsEventIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": func(context.Context, domain.Effects, work.Task) error {
		return domain.Errorf(domain.CodeInvalid, "never")
	}})
	s.options.Failures = deadletters.NewFailedTasks(s.db, true)
	delivery, event := newID(1), newID(2)
	delivery[6] = 0x80
	for _, id := range []domain.ID{delivery, event} {
		s.enqueue("test:a", id.String(), nil)
	}
	s.start()
	for _, id := range []domain.ID{delivery, event} {
		archived := s.state("default", id.String())
		servertest.Eventually(t, "the task is archived", func() bool { return archived(asynq.TaskStateArchived) })
	}
	if s.letter(delivery) != nil || s.letter(event) == nil {
		t.Errorf("dead letters: %+v, %+v, want only the second", s.letter(delivery), s.letter(event))
	}
	if _, err := deadletters.New(s.db).Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10); err != nil {
		t.Errorf("replay: %v", err)
	}
}

// A dead letter that cannot be written now is written when the database is back,
// and the task is not lost meanwhile.
func TestATaskIsNotGivenUpWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{
		"test:a": func(context.Context, domain.Effects, work.Task) error {
			return domain.Errorf(domain.CodeInvalid, "never")
		},
	})
	failures := &absentFailures{FailedTasks: deadletters.NewFailedTasks(s.db, true), asked: make(chan struct{}, 100)}
	failures.away.Store(true)
	s.options.Failures = failures
	last, early := s.emitSent("test:a"), s.emitSent("test:a")
	s.enqueue("test:a", last.String(), nil, asynq.MaxRetry(0))
	s.enqueue("test:a", early.String(), nil, asynq.MaxRetry(5))
	stop := s.start()
	for range 4 {
		<-failures.asked
	}
	stop()
	for _, id := range []domain.ID{last, early} {
		info, err := s.inspector.GetTaskInfo("default", id.String())
		if err != nil || info.Retried != 0 || info.State == asynq.TaskStateArchived || s.letter(id) != nil {
			t.Errorf("task %s after a stop: %+v, %v, want one that is still to be done", id, info, err)
		}
	}
	failures.away.Store(false)
	s.options.Registry = prometheus.NewRegistry()
	s.start()
	for _, id := range []domain.ID{last, early} {
		servertest.Eventually(t, "the event is a dead letter", func() bool { return s.letter(id) != nil })
	}
}

// absentFailures cannot reach the database for a while.
type absentFailures struct {
	domain.FailedTasks
	away  atomic.Bool
	asked chan struct{}
}

func (f *absentFailures) Bury(ctx context.Context, task domain.FailedTask, onRecord bool) (domain.Burial, error) {
	if f.away.Load() {
		select {
		case f.asked <- struct{}{}:
		default:
		}
		return 0, domain.Errorf(domain.CodeUnavailable, "away")
	}
	return f.FailedTasks.Bury(ctx, task, onRecord)
}
