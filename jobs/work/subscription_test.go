package work_test

import (
	"context"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/client/consumer"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
)

// Redis never confirms the subscription of Asynq's server. The worker and a consumer of the Go module stop nevertheless.
func TestAWorkerStopsIfRedisDoesNotConfirmItsSubscription(t *testing.T) {
	t.Parallel()
	worker := func(t *testing.T, url string) func(context.Context) error {
		s := newShop(t, url, map[string]work.Handler{"test:a": func(context.Context, domain.Effects, work.Task) error { return nil }})
		return work.New(s.options).Run
	}
	module := func(t *testing.T, url string) func(context.Context) error {
		return func(ctx context.Context) error {
			return consumer.Run(ctx, jobstest.OpenRedis(t, url), asynq.Config{LogLevel: asynq.FatalLevel}, asynq.NewServeMux())
		}
	}
	for name, runOn := range map[string]func(*testing.T, string) func(context.Context) error{"worker": worker, "consumer": module} {
		for fault, how := range map[string]faulttest.Fault{"silence": {Swallow: true}, "another answer": {Reply: "*1\r\n:1\r\n"}} {
			t.Run(name+", "+fault, func(t *testing.T) {
				t.Parallel()
				proxy := faulttest.NewFaultProxy(t, servertest.Redis(t))
				proxy.Break("SUBSCRIBE", how)
				run := runOn(t, proxy.URL())
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				ended := make(chan error, 1)
				go func() { ended <- run(ctx) }()
				// Besides Asynq, the bell subscribes.
				servertest.Eventually(t, "the worker subscribes twice", func() bool { return proxy.Hits() >= 2 })
				stop()
				select {
				case err := <-ended:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(time.Minute):
					t.Fatal("the worker does not stop")
				}
			})
		}
	}
}
