package work_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/servertest"
	"outboxd/client/consumer"
	"outboxd/domain"
	"outboxd/jobs/inspect"
	"outboxd/jobs/work"
)

// outboxd's worker and consumer.Run say which release they are. A plain Asynq server does not. Only outboxd's worker
// counts as outboxd's own.
func TestWorkersSayTheirVersion(t *testing.T) {
	t.Parallel()
	module := func(options ...consumer.RunOption) func(*shop) func(context.Context) error {
		return func(s *shop) func(context.Context) error {
			return func(ctx context.Context) error {
				return consumer.Run(ctx, s.options.Redis, asynq.Config{LogLevel: asynq.FatalLevel}, asynq.NewServeMux(), options...)
			}
		}
	}
	for name, c := range map[string]struct {
		run     func(*shop) func(context.Context) error
		version string
		own     bool
	}{
		"outboxd": {func(s *shop) func(context.Context) error { return work.New(s.options).Run }, "v2.0.0", true},
		"module":  {module(consumer.Version("orders 14")), "orders 14", false},
		// The binary of a test has no version.
		"module without a version": {module(), "", false},
		"Asynq":                    {plain, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listed(t, newNamed(t), c.run, c.version, c.own)
		})
	}
}

// A plain Asynq server has the host and the PID of a worker that ended a minute ago.
func TestAWorkerInPlaceOfAnotherDoesNotHaveItsVersion(t *testing.T) {
	t.Parallel()
	s := newNamed(t)
	listed(t, s, func(s *shop) func(context.Context) error { return work.New(s.options).Run }, "v2.0.0", true)
	client := s.options.Redis.Client()
	keys, err := client.Keys(t.Context(), "asynq:{outboxd}:worker:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
	_, said, _ := strings.Cut(client.Get(t.Context(), keys[0]).Val(), " ")
	before := time.Now().Add(-time.Minute).UnixMilli()
	if err := client.Set(t.Context(), keys[0], fmt.Sprintf("%d %s", before, said), time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	listed(t, s, plain, "", false)
}

// newNamed returns a shop whose worker has the version v2.0.0.
func newNamed(t *testing.T) *shop {
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"test:a": func(context.Context, domain.Effects, work.Task) error { return nil }})
	s.options.Version = "v2.0.0"
	return s
}

// plain returns a function that runs an Asynq server.
func plain(s *shop) func(context.Context) error {
	return func(ctx context.Context) error {
		server := asynq.NewServer(s.options.Redis, asynq.Config{LogLevel: asynq.FatalLevel})
		if err := server.Start(asynq.NewServeMux()); err != nil {
			return err
		}
		<-ctx.Done()
		server.Shutdown()
		return nil
	}
}

// listed runs a worker until it is listed in this way.
func listed(t *testing.T, s *shop, runOf func(*shop) func(context.Context) error, version string, own bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	run := runOf(s)
	go func() { ended <- run(ctx) }()
	overviews := inspect.NewOverviews(s.options.Redis)
	servertest.Eventually(t, "the worker is listed with its version", func() bool {
		workers, err := overviews.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(workers) == 1 && workers[0].Version == version && workers[0].Own == own
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
