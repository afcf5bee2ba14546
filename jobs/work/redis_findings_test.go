package work_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
)

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// A worker whose password becomes wrong logs that once, with the cure. When the password is right
// again, the worker goes on.
func TestAWorkerSaysThatItsCredentialsAreWrong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, admin := jobstest.Publisher(t, server.URL())
	jobstest.Allow(t, admin, "w", "on", ">secret", "~*", "&*", "+@all")
	log := &lines{}
	s := newShop(t, strings.Replace(server.URL(), "://", "://w:secret@", 1), map[string]work.Handler{
		"test:a": func(context.Context, domain.Effects, work.Task) error { return nil },
	})
	s.options.Logger = slog.New(slog.NewTextHandler(log, nil))
	s.start()
	servertest.Eventually(t, "the worker works", func() bool { return log.count("the worker takes tasks") == 1 })
	jobstest.Allow(t, admin, "w", "resetpass", ">other")
	if err := admin.Do(t.Context(), "CLIENT", "KILL", "USER", "w").Err(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the worker says that its credentials are wrong", func() bool { return log.count("finding=redis-credentials") > 0 })
	jobstest.Allow(t, admin, "w", "resetpass", ">secret")
	publisher, _ := jobstest.Publisher(t, server.URL())
	if err := publisher.Publish(t.Context(), jobstest.Events(1))[0].Failure(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the task is done", func() bool {
		return admin.Exists(t.Context(), "asynq:{default}:t:"+jobstest.Events(1)[0].TaskID()).Val() == 0
	})
	if n := log.count("finding=redis-credentials"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// Redis knows CLIENT SETINFO from 7.2 on. A worker on an older Redis does not complain.
// On a Redis from 7.2 on this test shows nothing.
func TestAWorkerOnAnOlderRedisDoesNotComplain(t *testing.T) {
	t.Parallel()
	log, done := &lines{}, make(chan struct{}, 1)
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{
		"test:a": func(context.Context, domain.Effects, work.Task) error { done <- struct{}{}; return nil },
	})
	s.options.Logger = slog.New(slog.NewTextHandler(log, nil))
	s.start()
	s.enqueue("test:a", jobstest.Events(1)[0].TaskID(), nil)
	<-done
	if n := log.count("cannot work with Redis"); n != 0 {
		t.Errorf("it complains %d times: %s", n, log.text.String())
	}
}

// What stands before Redis may not know subscriptions, and end their connections. A worker then polls, and does not say
// that it cannot work.
func TestAWorkerWithoutASubscriptionDoesNotComplain(t *testing.T) {
	t.Parallel()
	m := faulttest.NewMatrix(t, faulttest.Command{Name: "SUBSCRIBE"})
	m.Break("SUBSCRIBE", faulttest.Fault{Cut: true})
	log := &lines{}
	s := newShop(t, m.Proxied, map[string]work.Handler{
		"test:a": func(context.Context, domain.Effects, work.Task) error { return nil },
	})
	s.options.Logger = slog.New(slog.NewTextHandler(log, nil))
	s.start()
	// The worker and Asynq each subscribe, and go-redis repeats both at once. A fifth time is after a failure was reported.
	servertest.Eventually(t, "it has subscribed again", func() bool { return m.Hits() > 4 })
	if n := log.count("cannot work with Redis"); n != 0 {
		t.Errorf("it complains %d times: %s", n, log.text.String())
	}
}
