package lookup_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"

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
	case <-time.After(servertest.Patience):
		t.Error("Running goes on after its context ended")
	}
}

// The process of an attempt that lost its lease may be suspended, and go on. An archived task has no further attempt, and
// Asynq keeps it for 90 days.
func TestATaskWithoutALeaseRunsForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		retries int
		failure error
		age     time.Duration
		want    bool
	}{
		"to be tried again":               {1, asynq.ErrLeaseExpired, 0, true},
		"to be tried again, long ago":     {1, asynq.ErrLeaseExpired, 2 * time.Hour, true},
		"archived":                        {0, asynq.ErrLeaseExpired, 0, true},
		"archived long ago":               {0, asynq.ErrLeaseExpired, 2 * time.Hour, false},
		"archived after another failure":  {0, errors.New("the receiver is down"), 0, false},
		"to be tried after another error": {1, errors.New("the receiver is down"), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handle := jobstest.OpenRedis(t, servertest.Redis(t))
			client := handle.MakeRedisClient().(*redis.Client)
			t.Cleanup(func() { _ = client.Close() })
			jobstest.PendingTask(t, client, asynq.MaxRetry(c.retries))
			jobstest.Run(t, client, c.failure)
			key := jobstest.TaskKeyPrefix + jobstest.Events(1)[0].TaskID()
			message := protowire.AppendTag([]byte(client.HGet(t.Context(), key, "msg").Val()), 11, protowire.VarintType) // the last value of a field counts
			message = protowire.AppendVarint(message, uint64(time.Now().Add(-c.age).Unix()))
			if err := client.HSet(t.Context(), key, "msg", message).Err(); err != nil {
				t.Fatal(err)
			}
			if running, err := lookup.New(handle).Running(t.Context(), jobstest.Events(1)); err != nil || running[0] != c.want {
				t.Errorf("it runs: %v, %v", running, err)
			}
		})
	}
}
