package work_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/client/pipeline"
	"outboxd/client/spare"
	"outboxd/jobs/jobstest"
)

// A Redis that has reached its maxmemory is drained by its workers: tasks are taken, retried and finished, and a running
// task keeps its lease. Otherwise Redis would stay full for ever.
func TestAFullRedisIsDrained(t *testing.T) {
	t.Parallel()
	b := newBedOn(t, redistest.Start(t).URL(), pipelined)
	const tasks = 20
	for i := range tasks {
		b.enqueue(fmt.Sprintf("task-%d", i))
	}
	if err := b.redis.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	extended := make(chan error, 2*tasks)
	client := pipeline.New(t.Context(), pipeline.Options{Redis: b.redis, Direct: b.redis})
	stop := b.serve(b, asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		until := time.Now().Add(time.Hour).Unix()
		err := client.ZAddXX(ctx, "asynq:{default}:lease", redis.Z{Member: id, Score: float64(until)}).Err()
		if score := b.redis.ZScore(ctx, "asynq:{default}:lease", id).Val(); err == nil && int64(score) != until {
			err = fmt.Errorf("the lease ends at %v", score)
		}
		extended <- err
		if retried, _ := asynq.GetRetryCount(ctx); retried == 0 {
			return errors.New("once more")
		}
		return nil
	}))
	defer stop()
	for range 2 * tasks {
		select {
		case err := <-extended:
			if err != nil {
				t.Errorf("the lease is not extended: %v", err)
			}
		case <-time.After(servertest.Patience):
			t.Fatalf("tasks are not taken: %d wait, and %d to be retried", b.redis.LLen(t.Context(), "asynq:{default}:pending").Val(), b.redis.ZCard(t.Context(), "asynq:{default}:retry").Val())
		}
	}
	servertest.Eventually(t, "all tasks are finished", func() bool {
		return len(b.redis.Keys(t.Context(), jobstest.TaskKeyPrefix+"*").Val()) == 0
	})
	if n, _ := client.ZAddXX(t.Context(), "asynq:{default}:lease", redis.Z{Member: "task-0", Score: 1}).Result(); n != 0 || b.redis.ZCard(t.Context(), "asynq:{default}:lease").Val() != 0 {
		t.Error("a task that has ended has a lease again")
	}
}

// A task whose key is no hash, or whose message is empty, cannot run. It does not hold up the tasks behind it.
func TestAKeyOfAnotherKindHoldsUpNoTask(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(b *bed, key string){
		"another kind": func(b *bed, key string) {
			b.redis.Del(b.Context(), key)
			b.redis.Set(b.Context(), key, "x", 0)
		},
		"an empty message": func(b *bed, key string) { b.redis.HSet(b.Context(), key, "msg", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, pipelined)
			for i := range 3 {
				b.enqueue(fmt.Sprintf("task-%d", i))
			}
			spoil(b, jobstest.TaskKeyPrefix+"task-0")
			ran := make(chan string, 3)
			stop := b.serve(b, asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
				id, _ := asynq.GetTaskID(ctx)
				ran <- id
				return nil
			}))
			defer stop()
			for range 2 {
				select {
				case <-ran:
				case <-time.After(servertest.Patience):
					t.Fatal("the tasks behind it are not taken")
				}
			}
		})
	}
}

// Tasks that were taken and not handed out go back to their queue, whatever Redis answers in between.
func TestTasksGoBackAfterAnyError(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOAUTH Authentication required.",
		"MOVED 3999 127.0.0.1:6381",
	} {
		t.Run(reply[:4], func(t *testing.T) {
			t.Parallel()
			m := faulttest.NewMatrix(t, faulttest.Command{Name: "EVAL"})
			b := newBedOn(t, m.Proxied, pipelined)
			for i := range 3 {
				b.enqueue(fmt.Sprintf("task-%d", i))
			}
			direct := pipeline.Direct(b.redis)
			t.Cleanup(func() { _ = direct.Close() })
			client := pipeline.New(t.Context(), pipeline.Options{Redis: b.redis, Direct: direct, Concurrency: 3})
			pending := func() int64 { return b.redis.LLen(t.Context(), "asynq:{default}:pending").Val() }
			prefix := "asynq:{default}:"
			if err := client.Eval(t.Context(), "", []string{prefix + "pending", prefix + "paused", prefix + "active", prefix + "lease"}).Err(); err != nil || pending() != 0 {
				t.Fatalf("took no tasks: %v, %d wait", err, pending())
			}
			m.Break("EVAL", faulttest.Fault{Reply: "-" + reply + "\r\n"})
			servertest.Eventually(t, "the tasks go back", func() bool { return m.Hits() > 0 })
			m.Mend()
			servertest.Eventually(t, "the tasks are back", func() bool { return pending() == 2 })
		})
	}
}

// If the lease of a task has ended because Redis gave no answer, the task loses no attempt, and is not archived on its
// last one. Without an outage, a task that ends its worker loses one.
func TestAnOutageOfRedisCostsARunningTaskNoAttempt(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]bool{"an outage": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := faulttest.NewMatrix(t, faulttest.Command{Name: "ZADD"})
			b := newBedOn(t, m.Proxied, nil)
			b.enqueue("last", asynq.MaxRetry(0))
			b.enqueue("other", asynq.MaxRetry(5))
			for range 2 {
				jobstest.Take(t, b.redis)
			}
			const lease = "asynq:{default}:lease"
			for _, id := range []string{"last", "other"} {
				b.redis.ZAdd(t.Context(), lease, redis.Z{Member: id, Score: float64(time.Now().Add(-time.Minute).Unix())})
			}
			direct := pipeline.Direct(b.redis)
			t.Cleanup(func() { _ = direct.Close() })
			client := pipeline.New(t.Context(), pipeline.Options{Redis: b.redis, Direct: direct, Spared: &spare.Tasks{}})
			if outage {
				m.Break("ZADD", faulttest.Fault{Cut: true, Once: true})
				if err := client.ZAddXX(t.Context(), lease, redis.Z{Member: "last", Score: 1}).Err(); err == nil {
					t.Fatal("the lease was extended")
				}
			}
			config := b.config
			config.IsFailure = client.IsFailure(func(error) bool { return true })
			config.DelayedTaskCheckInterval = time.Hour
			server := asynq.NewServerFromRedisClient(client, config)
			if err := server.Start(asynq.HandlerFunc(succeed)); err != nil {
				t.Fatal(err)
			}
			defer server.Shutdown()
			servertest.Eventually(t, "the leases are over", func() bool { return b.redis.ZCard(t.Context(), lease).Val() == 0 })
			last, other := b.info("default", "last"), b.info("default", "other")
			want, retried := asynq.TaskStateRetry, 0
			if !outage {
				want, retried = asynq.TaskStateArchived, 1
			}
			if last.State != want || other.State != asynq.TaskStateRetry || other.Retried != retried {
				t.Errorf("the last attempt is %s, want %s; the other is %s with %d retries, want %d", last.State, want, other.State, other.Retried, retried)
			}
		})
	}
}

// An outage counts whichever command shows it, also if the worker has no task of the queue or takes tasks of other queues.
// An error that may last and leaves other work alone is no outage: with it, a task that ends its worker would run for ever.
func TestWhatCountsAsAnOutageForALease(t *testing.T) {
	t.Parallel()
	const prefix = "asynq:{default}:"
	extend := func(ctx context.Context, client *pipeline.Client) error {
		return client.ZAddXX(ctx, prefix+"lease", redis.Z{Member: "task-0", Score: float64(time.Now().Add(time.Minute).Unix())}).Err()
	}
	forward := func(ctx context.Context, client *pipeline.Client) error {
		return client.EvalSha(ctx, "0", []string{prefix + "retry", prefix + "pending"}, 0, prefix+"t:", 0, prefix+"g:").Err()
	}
	const full = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
	const full6 = "-ERR Error running script (call to f_0): @user_script:9: @user_script: 9: " + full
	for name, c := range map[string]struct {
		ask     func(context.Context, *pipeline.Client) error
		command string
		fault   faulttest.Fault
		fails   bool
		counts  bool
	}{
		"a lease, disk full":       {extend, "ZADD", faulttest.Fault{Reply: "-MISCONF Redis is configured to save RDB snapshots\r\n"}, true, true},
		"a lease, a slow script":   {extend, "ZADD", faulttest.Fault{Reply: "-BUSY Redis is busy running a script.\r\n"}, true, true},
		"a lease, a new password":  {extend, "ZADD", faulttest.Fault{Reply: "-NOAUTH Authentication required.\r\n"}, true, true},
		"a lease, full":            {extend, "ZADD", faulttest.Fault{Reply: full}, false, false},
		"a lease, wrong kind":      {extend, "ZADD", faulttest.Fault{Reply: "-WRONGTYPE Operation against a key\r\n"}, true, false},
		"due tasks, cut":           {forward, "EVALSHA", faulttest.Fault{Cut: true}, true, true},
		"due tasks, loading":       {forward, "EVALSHA", faulttest.Fault{Reply: "-LOADING Redis is loading the dataset in memory\r\n"}, true, true},
		"due tasks, full":          {forward, "EVALSHA", faulttest.Fault{Reply: full, Once: true}, false, false},
		"due tasks, full Redis 6":  {forward, "EVALSHA", faulttest.Fault{Reply: full6, Once: true}, false, false},
		"due tasks, no script":     {forward, "EVALSHA", faulttest.Fault{Reply: "-NOSCRIPT No matching script.\r\n"}, true, false},
		"due tasks, no permission": {forward, "EVALSHA", faulttest.Fault{Reply: "-NOPERM this user has no permissions\r\n"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := faulttest.NewMatrix(t, faulttest.Command{Name: c.command})
			b := newBedOn(t, m.Proxied, nil)
			client := pipeline.New(t.Context(), pipeline.Options{Redis: b.redis, Direct: b.redis})
			m.Break(c.command, c.fault)
			if err := c.ask(t.Context(), client); (err != nil) != c.fails {
				t.Fatalf("answered: %v", err)
			}
			charged := client.IsFailure(func(error) bool { return true })(asynq.ErrLeaseExpired)
			if charged == c.counts {
				t.Errorf("the end of a lease costs an attempt: %t, want %t", charged, !c.counts)
			}
		})
	}
}
