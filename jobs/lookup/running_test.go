package lookup_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/lookup"
)

// stuck gives no answer to commands about the tasks on which workers work.
type stuck struct{ reached chan struct{} }

func (s stuck) wait(ctx context.Context, commands ...redis.Cmder) error {
	for _, c := range commands {
		for _, arg := range c.Args() {
			if text, _ := arg.(string); strings.HasPrefix(text, "asynq:workers:{") {
				close(s.reached)
				<-ctx.Done()
				c.SetErr(ctx.Err())
				return ctx.Err()
			}
		}
	}
	return nil
}

func (s stuck) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (s stuck) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, c redis.Cmder) error { return errors.Join(s.wait(ctx, c), next(ctx, c)) }
}

func (s stuck) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		if err := s.wait(ctx, all...); err != nil {
			return err
		}
		return next(ctx, all)
	}
}

// If Redis gives no answer about workers, Running ends with its context and returns an
// error.
func TestRunningEndsWithItsContext(t *testing.T) {
	t.Parallel()
	handle := jobstest.OpenRedis(t, servertest.Redis(t))
	client := handle.Client()
	client.ZAdd(t.Context(), "asynq:workers", redis.Z{Score: float64(time.Now().Add(time.Minute).Unix()), Member: "asynq:workers:{a:1:b}"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := stuck{make(chan struct{})}
	client.AddHook(s)
	ended := make(chan error, 1)
	go func() {
		_, err := lookup.New(handle).Running(ctx, jobstest.Events(1))
		ended <- err
	}()
	select {
	case <-s.reached:
	case err := <-ended:
		t.Fatalf("no worker was asked: %v", err)
	}
	cancel()
	select {
	case err := <-ended:
		if domain.ErrorCode(err) != domain.CodeUnavailable {
			t.Errorf("Running: %v, want that Redis cannot be asked", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Running goes on after its context ended")
	}
}
