package work_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/client/bell"
	"outboxd/client/pipeline"
	"outboxd/jobs/jobstest"
)

// A bed is a Redis on which Asynq's server runs: plain, or with a pipeline.Client.
type bed struct {
	*testing.T
	redis     *redis.Client
	client    *asynq.Client
	inspector *asynq.Inspector
	config    asynq.Config
	serve     func(b *bed, handler asynq.Handler) (stop func())

	mu   sync.Mutex
	runs []string // the IDs of the tasks that were run, in their order
}

// The function plainly runs Asynq's server as it is.
func plainly(b *bed, handler asynq.Handler) (stop func()) {
	server := asynq.NewServerFromRedisClient(b.redis, b.config)
	if err := server.Start(handler); err != nil {
		b.Fatal(err)
	}
	return server.Shutdown
}

// The function pipelined runs Asynq's server with a pipeline.Client.
func pipelined(b *bed, handler asynq.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	direct := pipeline.Direct(b.redis)
	client := pipeline.New(ctx, pipeline.Options{
		Redis: b.redis, Direct: direct, Every: 10 * time.Millisecond,
		Concurrency: b.config.Concurrency, Queues: b.config.Queues, StrictPriority: b.config.StrictPriority,
	})
	config := b.config
	config.TaskCheckInterval = bell.Pause
	server := asynq.NewServerFromRedisClient(client, config)
	if err := server.Start(handler); err != nil {
		b.Fatal(err)
	}
	return func() {
		cancel()
		client.Release()
		server.Shutdown()
		_ = direct.Close()
	}
}

func newBed(t *testing.T, serve func(*bed, asynq.Handler) func()) *bed {
	return newBedOn(t, servertest.Redis(t), serve)
}

func newBedOn(t *testing.T, url string, serve func(*bed, asynq.Handler) func()) *bed {
	client := jobstest.OpenRedis(t, url).MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	return &bed{
		T: t, redis: client, client: asynq.NewClientFromRedisClient(client), inspector: asynq.NewInspectorFromRedisClient(client), serve: serve,
		config: asynq.Config{
			Concurrency: 4, Queues: map[string]int{"default": 1}, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond,
			DelayedTaskCheckInterval: 100 * time.Millisecond, ShutdownTimeout: 200 * time.Millisecond,
			RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Second },
		},
	}
}

// run serves with a handler that notes which tasks it ran, until the returned function
// is called or the test ends.
func (b *bed) run(handle func(ctx context.Context, task *asynq.Task) error) (stop func()) {
	b.Helper()
	stop = sync.OnceFunc(b.serve(b, asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		b.mu.Lock()
		b.runs = append(b.runs, id)
		b.mu.Unlock()
		return handle(ctx, task)
	})))
	b.Cleanup(stop)
	return stop
}

func (b *bed) ran() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.runs)
}

func (b *bed) enqueue(id string, options ...asynq.Option) {
	b.Helper()
	if _, err := b.client.EnqueueContext(b.Context(), asynq.NewTask("test:a", []byte(id)), append(options, asynq.TaskID(id))...); err != nil {
		b.Fatal(err)
	}
}

// info returns what is known of a task; nil: it is gone.
func (b *bed) info(queue, id string) *asynq.TaskInfo {
	b.Helper()
	info, err := b.inspector.GetTaskInfo(queue, id)
	if err != nil && !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound) {
		b.Fatal(err)
	}
	return info
}

func (b *bed) eventually(what string, condition func() bool) {
	b.Helper()
	servertest.Eventually(b.T, what, condition)
}

func succeed(context.Context, *asynq.Task) error { return nil }

func fail(context.Context, *asynq.Task) error { return errors.New("no") }

// behaviours are what users of Asynq rely on. Each returns what must be the same
// with both kinds of server.
var behaviours = map[string]func(b *bed) any{
	"a queue is worked off in order": func(b *bed) any {
		b.config.Concurrency = 1
		for n := range 50 {
			b.enqueue(fmt.Sprint(n))
		}
		b.run(succeed)
		b.eventually("all have run", func() bool { return len(b.ran()) == 50 })
		return b.ran()
	},
	"strict priorities": func(b *bed) any {
		b.config.Concurrency, b.config.StrictPriority, b.config.Queues = 1, true, map[string]int{"high": 3, "middle": 2, "low": 1}
		for n := range 20 {
			for _, queue := range []string{"low", "high", "middle"} {
				b.enqueue(fmt.Sprint(queue, n), asynq.Queue(queue))
			}
		}
		b.run(func(_ context.Context, task *asynq.Task) error {
			if string(task.Payload()) == "low5" { // a task of high priority that comes now also goes first
				b.enqueue("late", asynq.Queue("high"))
			}
			return nil
		})
		b.eventually("all have run", func() bool { return len(b.ran()) == 61 })
		return b.ran()
	},
	"weights": func(b *bed) any {
		b.config.Concurrency, b.config.Queues = 2, map[string]int{"often": 6, "seldom": 2}
		for n := range 800 {
			b.enqueue(fmt.Sprint("often", n), asynq.Queue("often"))
			b.enqueue(fmt.Sprint("seldom", n), asynq.Queue("seldom"))
		}
		b.run(succeed)
		b.eventually("half have run", func() bool { return len(b.ran()) >= 800 })
		seldom := 0
		for _, id := range b.ran()[:800] {
			if strings.HasPrefix(id, "seldom") {
				seldom++
			}
		}
		if seldom < 140 || seldom > 260 { // 200 are expected; each bound is about five standard deviations away
			b.Errorf("%d of 800 are of the queue with a quarter of the weight", seldom)
		}
		return nil
	},
	"a paused queue": func(b *bed) any {
		b.config.Queues = map[string]int{"default": 2, "other": 1}
		if err := b.redis.SAdd(b.Context(), "asynq:queues", "default").Err(); err != nil {
			b.Fatal(err)
		}
		if err := b.inspector.PauseQueue("default"); err != nil {
			b.Fatal(err)
		}
		b.enqueue("paused")
		for n := range 20 {
			b.enqueue(fmt.Sprint(n), asynq.Queue("other"))
		}
		b.run(succeed)
		b.eventually("the others have run", func() bool { return len(b.ran()) == 20 })
		if b.info("default", "paused").State != asynq.TaskStatePending {
			b.Error("a task of a paused queue was taken")
		}
		if err := b.inspector.UnpauseQueue("default"); err != nil {
			b.Fatal(err)
		}
		b.eventually("it has run", func() bool { return len(b.ran()) == 21 })
		return nil
	},
	"leases are extended": func(b *bed) any {
		release := make(chan struct{})
		b.enqueue("long")
		b.run(func(context.Context, *asynq.Task) error { <-release; return nil })
		defer close(release)
		lease := func() float64 { return b.redis.ZScore(b.Context(), "asynq:{default}:lease", "long").Val() }
		b.eventually("it runs", func() bool { return lease() > 0 })
		first := lease()
		b.eventually("its lease is extended", func() bool { return lease() > first })
		return nil
	},
	"the task of a dead worker": func(b *bed) any {
		for _, id := range []string{"again", "given up"} {
			b.enqueue(id, asynq.MaxRetry(map[string]int{"again": 3}[id]))
			prefix := "asynq:{default}:"
			b.redis.LMove(b.Context(), prefix+"pending", prefix+"active", "RIGHT", "LEFT")
			b.redis.HSet(b.Context(), prefix+"t:"+id, "state", "active")
			b.redis.ZAdd(b.Context(), prefix+"lease", redis.Z{Score: float64(time.Now().Add(-time.Minute).Unix()), Member: id})
		}
		b.run(succeed)
		b.eventually("it has run", func() bool { return len(b.ran()) == 1 })
		b.eventually("the other is archived", func() bool { return b.info("default", "given up").State == asynq.TaskStateArchived })
		return []string{b.ran()[0], b.info("default", "given up").LastErr}
	},
	"a failure is tried again after the delay": func(b *bed) any {
		begun := time.Now()
		b.enqueue("a", asynq.MaxRetry(2), asynq.Retention(time.Hour))
		b.run(func(ctx context.Context, _ *asynq.Task) error {
			if n, _ := asynq.GetRetryCount(ctx); n < 2 {
				return errors.New("not yet")
			}
			return nil
		})
		b.eventually("it succeeds", func() bool { return b.info("default", "a").State == asynq.TaskStateCompleted })
		if took := time.Since(begun); took < time.Second {
			b.Errorf("two retries after %v", took)
		}
		info := b.info("default", "a")
		return []any{b.ran(), info.Retried, info.LastErr, info.MaxRetry}
	},
	"what is no failure costs no attempt": func(b *bed) any {
		b.config.IsFailure = func(error) bool { return false }
		b.enqueue("a", asynq.MaxRetry(2))
		b.run(fail)
		b.eventually("it waits", func() bool { return b.info("default", "a").State == asynq.TaskStateRetry })
		return b.info("default", "a").Retried
	},
	"the archive": func(b *bed) any {
		b.enqueue("used up", asynq.MaxRetry(1))
		b.enqueue("hopeless", asynq.MaxRetry(5))
		b.enqueue("revoked", asynq.MaxRetry(5))
		b.enqueue("panic", asynq.MaxRetry(0))
		b.run(func(_ context.Context, task *asynq.Task) error {
			switch string(task.Payload()) {
			case "hopeless":
				return asynq.SkipRetry
			case "revoked":
				return asynq.RevokeTask
			case "panic":
				panic("in the handler")
			default:
				return errors.New("no")
			}
		})
		var found []any
		for _, id := range []string{"used up", "hopeless", "panic"} {
			b.eventually(id+" is archived", func() bool { return b.info("default", id).State == asynq.TaskStateArchived })
			info := b.info("default", id)
			text, _, _ := strings.Cut(info.LastErr, "[")
			found = append(found, text, info.Retried)
		}
		b.eventually("one is gone", func() bool { return b.info("default", "revoked") == nil })
		q, err := b.inspector.GetQueueInfo("default")
		if err != nil {
			b.Fatal(err)
		}
		return append(found, q.Archived, q.Processed, q.Failed, q.ProcessedTotal, q.FailedTotal, q.Size)
	},
	"retention and results": func(b *bed) any {
		b.enqueue("kept", asynq.Retention(time.Hour))
		b.enqueue("gone")
		b.run(func(_ context.Context, task *asynq.Task) error {
			_, err := task.ResultWriter().Write([]byte("result"))
			return err
		})
		b.eventually("one is kept", func() bool { return b.info("default", "kept").State == asynq.TaskStateCompleted })
		b.eventually("the other is gone", func() bool { return b.info("default", "gone") == nil })
		return string(b.info("default", "kept").Result)
	},
	"locks of unique tasks": func(b *bed) any {
		locks := func() int { return len(b.redis.Keys(b.Context(), "asynq:{default}:unique:*").Val()) }
		b.enqueue("done", asynq.Unique(time.Hour))
		b.enqueue("kept", asynq.Unique(time.Hour), asynq.Retention(time.Hour))
		b.enqueue("dead", asynq.Unique(time.Hour), asynq.MaxRetry(0))
		if n := locks(); n != 3 {
			b.Fatalf("%d locks", n)
		}
		b.run(func(_ context.Context, task *asynq.Task) error {
			if string(task.Payload()) == "dead" {
				return errors.New("no")
			}
			return nil
		})
		b.eventually("two locks are gone", func() bool { return locks() == 1 })
		b.eventually("one is archived", func() bool { return b.info("default", "dead").State == asynq.TaskStateArchived })
		return locks()
	},
	"groups": func(b *bed) any {
		b.config.GroupMaxSize, b.config.GroupGracePeriod = 3, time.Second
		b.config.GroupAggregator = asynq.GroupAggregatorFunc(func(group string, tasks []*asynq.Task) *asynq.Task {
			return asynq.NewTask("test:group", fmt.Append(nil, group, len(tasks)))
		})
		for n := range 3 {
			b.enqueue(fmt.Sprint(n), asynq.Group("g"))
		}
		payload := make(chan string, 10)
		b.run(func(_ context.Context, task *asynq.Task) error {
			payload <- task.Type() + " " + string(task.Payload())
			return nil
		})
		return <-payload
	},
	"a shutdown puts back what does not end": func(b *bed) any {
		b.config.Concurrency = 2
		for n := range 6 {
			b.enqueue(fmt.Sprint(n))
		}
		release := make(chan struct{})
		stop := b.run(func(context.Context, *asynq.Task) error { <-release; return nil })
		b.eventually("two run", func() bool { return len(b.ran()) == 2 })
		stop()
		close(release)
		pending := b.redis.LRange(b.Context(), "asynq:{default}:pending", 0, -1).Val()
		head := pending[len(pending)-2:]
		slices.Sort(head)
		if n := b.redis.LLen(b.Context(), "asynq:{default}:active").Val() + b.redis.ZCard(b.Context(), "asynq:{default}:lease").Val(); n != 0 {
			b.Errorf("%d active tasks and leases are left", n)
		}
		return append(pending[:len(pending)-2:len(pending)-2], head...)
	},
	"a task is cancelled": func(b *bed) any {
		b.enqueue("a", asynq.MaxRetry(3))
		b.run(func(ctx context.Context, _ *asynq.Task) error { <-ctx.Done(); return ctx.Err() })
		b.eventually("it runs", func() bool { return len(b.ran()) == 1 })
		b.eventually("it is cancelled", func() bool {
			_ = b.inspector.CancelProcessing("a")
			return b.info("default", "a").State == asynq.TaskStateRetry
		})
		return b.info("default", "a").LastErr
	},
	"deadlines and timeouts": func(b *bed) any {
		b.enqueue("past", asynq.Deadline(time.Now().Add(-time.Minute)), asynq.MaxRetry(0))
		b.enqueue("slow", asynq.Timeout(time.Second), asynq.MaxRetry(0))
		b.run(func(ctx context.Context, _ *asynq.Task) error { <-ctx.Done(); return ctx.Err() })
		found := map[string]string{}
		for _, id := range []string{"past", "slow"} {
			b.eventually(id+" is archived", func() bool { return b.info("default", id).State == asynq.TaskStateArchived })
			found[id] = b.info("default", id).LastErr
		}
		return fmt.Sprint(found, b.ran())
	},
	"later": func(b *bed) any {
		b.enqueue("a", asynq.ProcessIn(time.Second))
		begun := time.Now()
		b.run(succeed)
		b.eventually("it has run", func() bool { return len(b.ran()) == 1 })
		b.eventually("it is gone", func() bool { return b.info("default", "a") == nil })
		if took := time.Since(begun); took < 100*time.Millisecond {
			b.Errorf("it ran after %v", took)
		}
		return nil
	},
	"never more than there are places": func(b *bed) any {
		b.config.Concurrency, b.config.Queues = 3, map[string]int{"default": 2, "other": 1}
		for n := range 150 {
			b.enqueue(fmt.Sprint(n))
			b.enqueue(fmt.Sprint("other", n), asynq.Queue("other"))
		}
		most := int64(0)
		b.run(func(ctx context.Context, _ *asynq.Task) error {
			active, err := b.redis.Eval(ctx, `return redis.call("LLEN", KEYS[1]) + redis.call("LLEN", KEYS[2])`, []string{"asynq:{default}:active", "asynq:{other}:active"}).Int64()
			if err != nil {
				return err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			most = max(most, active)
			return nil
		})
		b.eventually("all have run", func() bool { return len(b.ran()) == 300 })
		b.mu.Lock()
		defer b.mu.Unlock()
		if most > 3 {
			b.Errorf("%d tasks were taken at a time, with 3 places", most)
		}
		return nil
	},
	"nothing is left": func(b *bed) any {
		for n := range 300 {
			b.enqueue(fmt.Sprint(n))
		}
		stop := b.run(succeed)
		b.eventually("all have run", func() bool { return len(b.ran()) == 300 })
		stop()
		keys := b.redis.Keys(b.Context(), "asynq:*").Val()
		slices.Sort(keys)
		q, err := b.inspector.GetQueueInfo("default")
		if err != nil {
			b.Fatal(err)
		}
		return []any{keys, q.Size, q.Processed, q.ProcessedTotal, q.Failed}
	},
}

// TestAPipelineBehavesAsAsynq runs each behaviour with Asynq's server as it is, and with
// a pipeline between it and Redis.
func TestAPipelineBehavesAsAsynq(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(behaviours)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := map[string]string{}
			var mu sync.Mutex
			t.Run("both", func(t *testing.T) {
				for way, serve := range map[string]func(*bed, asynq.Handler) func(){"asynq": plainly, "pipeline": pipelined} {
					t.Run(way, func(t *testing.T) {
						t.Parallel()
						result := fmt.Sprint(behaviours[name](newBed(t, serve)))
						mu.Lock()
						defer mu.Unlock()
						found[way] = result
					})
				}
			})
			if found["asynq"] != found["pipeline"] {
				t.Errorf("with Asynq alone %s\nwith a pipeline  %s", found["asynq"], found["pipeline"])
			}
		})
	}
}
