package work_test

import (
	"context"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/repository/deadletters"
)

// In a database that went back, tasks before their turn cost no attempt. With attempts left they come again. On their last
// attempt they wait, and if too many wait, the relay makes them again. None ends in the archive.
func TestTasksBeforeTheirTurn(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{
		"test:effect": func(context.Context, domain.Effects, work.Task) error { return nil },
	})
	s.options.Failures = deadletters.NewFailedTasks(s.db, true)
	s.exec("UPDATE outbox_queue_identity SET went_back_at = now()")
	emit := func(key string) (id domain.ID) {
		err := s.db.SQL().QueryRowContext(t.Context(), "SELECT outboxd.emit('test:effect', '{}', ordering_key => $1)", key).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var last []domain.ID
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} { // more than the worker does at a time
		last = append(last, emit(key))
		s.enqueue("test:effect", last[len(last)-1].String(), nil, asynq.MaxRetry(0))
	}
	again := emit("g")
	s.enqueue("test:effect", again.String(), nil, asynq.MaxRetry(5))
	s.start()
	servertest.Eventually(t, "the task with attempts left goes back", func() bool { return s.state("default", again.String())(asynq.TaskStateRetry) })
	if info, err := s.inspector.GetTaskInfo("default", again.String()); err != nil || info.Retried != 0 {
		t.Errorf("it is %+v, %v, want no attempt charged", info, err)
	}
	s.exec("INSERT INTO outbox_turns (ordering_key, event_id) SELECT ordering_key, id FROM outbox")
	servertest.Eventually(t, "the task with attempts left takes effect", func() bool { return s.count("SELECT count(*) FROM inbox WHERE event_id = $1", again) == 1 })
	effects := func() int {
		return s.count("SELECT count(*) FROM inbox WHERE event_id = ANY ($1::uuid[])", texts(last))
	}
	servertest.Eventually(t, "those that waited take effect", func() bool { return effects() >= 2 })
	for _, id := range last {
		if s.state("default", id.String())(asynq.TaskStateArchived) || s.letter(id) != nil {
			t.Errorf("%s is given up: %+v", id, s.letter(id))
		}
		if s.count("SELECT count(*) FROM inbox WHERE event_id = $1", id) == 0 {
			// Enqueue another task, as the relay does when the event has its turn.
			s.enqueue("test:effect", id.String(), nil, asynq.MaxRetry(0))
		}
	}
	servertest.Eventually(t, "all take effect", func() bool { return effects() == len(last) })
}

func texts(ids []domain.ID) (list []string) {
	for _, id := range ids {
		list = append(list, id.String())
	}
	return list
}

func (s *shop) exec(query string) {
	s.t.Helper()
	if _, err := s.db.SQL().ExecContext(s.t.Context(), query); err != nil {
		s.t.Fatal(err)
	}
}
