package work_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
)

// The worker polls as rarely as it can, about every 10 s. The bell makes it begin at once. Each
// event is published after the one before was handled, so by polling the events would take
// several minutes.
func TestAnIdleWorkerHearsOfNewTasks(t *testing.T) {
	t.Parallel()
	address := redistest.Start(t).URL()
	done := make(chan string, 10)
	s := newShop(t, address, map[string]work.Handler{
		"test:bell": func(_ context.Context, _ domain.Effects, task work.Task) error {
			done <- task.EventID.String()
			return nil
		},
	})
	s.options.PollInterval = time.Hour
	s.start()
	publisher, _ := jobstest.Publisher(t, address)
	deadline := time.After(time.Minute)
	publish := func(n byte, queue string) {
		t.Helper()
		event := domain.Event{ID: domain.ID{n}, Type: "test:bell", Queue: queue, Payload: []byte("{}")}
		if err := publisher.Publish(t.Context(), []domain.Event{event})[0].Failure(); err != nil {
			t.Fatal(err)
		}
		select {
		case id := <-done:
			if id != event.ID.String() {
				t.Fatalf("event %s was handled, want %s", id, event.ID)
			}
		case <-deadline:
			t.Fatalf("after a minute nobody has taken event %d, in queue %s", n, queue)
		}
	}
	for n := range byte(30) {
		publish(n+1, []string{"default", "low"}[n%2])
	}
	// A worker whose listening connection broke looks for tasks as soon as it has a new connection.
	if err := s.redis.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	publish(31, "default")
}

// A worker that may not subscribe to the bell finds new tasks when it polls.
func TestAWorkerWithoutTheBellLooks(t *testing.T) {
	t.Parallel()
	address := redistest.Start(t).URL()
	done := make(chan struct{}, 1)
	s := newShop(t, address, map[string]work.Handler{
		"test:deaf": func(context.Context, domain.Effects, work.Task) error { done <- struct{}{}; return nil },
	})
	if err := s.redis.Do(t.Context(), "ACL", "SETUSER", "default", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.enqueue("test:deaf", fmt.Sprint(domain.ID{1}), []byte("{}"))
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody has taken the task")
	}
}
