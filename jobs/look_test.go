package jobs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/lookup"
)

func newTaskFinder(t *testing.T, url string) *lookup.Finder {
	t.Helper()
	return lookup.New(openRedis(t, url))
}

// pendingTask is a task as Asynq's client leaves it.
func pendingTask(t *testing.T, client *redis.Client, options ...asynq.Option) {
	t.Helper()
	publisher := asynq.NewClientFromRedisClient(client)
	event := testEvents(1)[0]
	task := asynq.NewTask(event.Type, []byte("x"), append(options, asynq.TaskID(event.TaskID()))...)
	if _, err := publisher.EnqueueContext(t.Context(), task); err != nil {
		t.Fatal(err)
	}
}

const lookedFor = "asynq:{default}:t:"

// take does what Asynq's worker does when it takes a task, and no more: it dies.
func take(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx, key := t.Context(), lookedFor+testEvents(1)[0].TaskID()
	id := client.LMove(ctx, "asynq:{default}:pending", "asynq:{default}:active", "RIGHT", "LEFT").Val()
	client.HSet(ctx, key, "state", "active")
	client.HDel(ctx, key, "pending_since")
	if err := client.ZAdd(ctx, "asynq:{default}:lease", redis.Z{Score: float64(time.Now().Add(30 * time.Second).Unix()), Member: id}).Err(); err != nil {
		t.Fatal(err)
	}
}

// run lets Asynq's own worker end the task one way or another.
func run(t *testing.T, client *redis.Client, result error) {
	t.Helper()
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond,
	})
	err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return result }))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	key := lookedFor + testEvents(1)[0].TaskID()
	eventually(t, "the task has run", func() bool {
		state := client.HGet(t.Context(), key, "state").Val()
		return state != "pending" && state != "active"
	})
}

// A task counts as there only where a worker will find it.
func TestLookTellsTasksFromTheirRemains(t *testing.T) {
	t.Parallel()
	key := lookedFor + testEvents(1)[0].TaskID()
	tests := map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  domain.TaskPresence
	}{
		"nothing": {func(*testing.T, *redis.Client) {}, domain.TaskMissing},
		"pending": {func(t *testing.T, c *redis.Client) { pendingTask(t, c) }, domain.TaskUnfinished},
		"pending, list deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
		}, domain.TaskStranded},
		"pending, list deleted, others came": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
			enqueueOthers(t, c, 1500)
		}, domain.TaskStranded},
		"pending before many others": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			enqueueOthers(t, c, 1500)
		}, domain.TaskUnfinished},
		"pending behind many others": {func(t *testing.T, c *redis.Client) {
			enqueueOthers(t, c, 1500)
			pendingTask(t, c)
		}, domain.TaskUnfinished},
		"pending behind many others, by a clock that is slow": {func(t *testing.T, c *redis.Client) {
			enqueueOthers(t, c, 1500)
			pendingTask(t, c)
			c.HSet(t.Context(), key, "pending_since", time.Now().Add(-time.Hour).UnixNano())
		}, domain.TaskUnfinished},
		"given back by a worker that stopped": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.HDel(t.Context(), key, "pending_since")
			enqueueOthers(t, c, 5)
		}, domain.TaskUnfinished},
		"hash deleted": {func(t *testing.T, c *redis.Client) { pendingTask(t, c); c.Del(t.Context(), key) }, domain.TaskMissing},
		"hash deleted, and made again by a worker": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), key)
			take(t, c)
		}, domain.TaskStranded},
		"active": {func(t *testing.T, c *redis.Client) { pendingTask(t, c); take(t, c) }, domain.TaskUnfinished},
		"active, lease deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			take(t, c)
			c.Del(t.Context(), "asynq:{default}:lease")
		}, domain.TaskStranded},
		"active, list deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			take(t, c)
			c.Del(t.Context(), "asynq:{default}:active")
		}, domain.TaskStranded},
		"to be tried again": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			run(t, c, fmt.Errorf("no"))
		}, domain.TaskUnfinished},
		"to be tried again, set deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			run(t, c, fmt.Errorf("no"))
			c.Del(t.Context(), "asynq:{default}:retry")
		}, domain.TaskStranded},
		"completed": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c, asynq.Retention(time.Hour))
			run(t, c, nil)
		}, domain.TaskCompleted},
		"archived": {func(t *testing.T, c *redis.Client) { pendingTask(t, c); run(t, c, asynq.SkipRetry) }, domain.TaskArchived},
		"archived, set deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			run(t, c, asynq.SkipRetry)
			c.Del(t.Context(), "asynq:{default}:archived")
		}, domain.TaskStranded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.Redis(t)
			_, client := newPublisher(t, url)
			test.begin(t, client)
			found, err := newTaskFinder(t, url).Look(t.Context(), testEvents(1))
			if err != nil || found[0] != test.want {
				t.Errorf("the task %v (%v), want: it %v", found[0], err, test.want)
			}
		})
	}
}

// A worker that has lost its lease runs on, and its task must not be lost twice.
func TestLookLeavesARunningTaskWithoutItsLease(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	_, client := newPublisher(t, url)
	pendingTask(t, client)
	server := asynq.NewServerFromRedisClient(client, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond})
	running, end := make(chan struct{}), make(chan struct{})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { close(running); <-end; return nil })); err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	defer close(end)
	<-running
	inspector := asynq.NewInspectorFromRedisClient(client)
	eventually(t, "the worker says what it runs", func() bool {
		servers, _ := inspector.Servers()
		return len(servers) == 1 && len(servers[0].ActiveWorkers) == 1
	})
	client.Del(t.Context(), "asynq:{default}:lease")
	if found, err := newTaskFinder(t, url).Look(t.Context(), testEvents(1)); err != nil || found[0] != domain.TaskUnfinished {
		t.Errorf("the running task %v (%v)", found[0], err)
	}
}

// enqueueOthers puts tasks of other IDs behind what is there.
func enqueueOthers(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i := range n {
			id := fmt.Sprintf("other-%d", i)
			pipe.HSet(t.Context(), lookedFor+id, "msg", "m", "state", "pending", "pending_since", time.Now().UnixNano())
			pipe.LPush(t.Context(), "asynq:{default}:pending", id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What Redis has only remains of is enqueued again, and what it has is not.
func TestPublishClearsRemainsAway(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  string // how the task waits afterwards
	}{
		"list deleted": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
		}, "again"},
		"list deleted, many came": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
			enqueueOthers(t, c, 1500)
		}, "again"},
		"unique": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c, asynq.Unique(time.Hour))
			c.Del(t.Context(), "asynq:{default}:pending")
		}, "again"},
		"nothing but a state": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			c.Del(t.Context(), lookedFor+testEvents(1)[0].TaskID())
			take(t, c)
		}, "again"},
		"active without a lease": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c)
			take(t, c)
			c.Del(t.Context(), "asynq:{default}:lease")
		}, "again"},
		"completed": {func(t *testing.T, c *redis.Client) {
			pendingTask(t, c, asynq.Retention(time.Hour))
			run(t, c, nil)
		}, "again"},
		"pending": {func(t *testing.T, c *redis.Client) { pendingTask(t, c) }, "pending"},
		"pending among many, by a slow clock": {func(t *testing.T, c *redis.Client) {
			enqueueOthers(t, c, 1500)
			pendingTask(t, c)
			c.HSet(t.Context(), lookedFor+testEvents(1)[0].TaskID(), "pending_since", time.Now().Add(-time.Hour).UnixNano())
		}, "pending"},
		"active":   {func(t *testing.T, c *redis.Client) { pendingTask(t, c); take(t, c) }, "active"},
		"archived": {func(t *testing.T, c *redis.Client) { pendingTask(t, c); run(t, c, asynq.SkipRetry) }, "archived"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publisher, client := newPublisher(t, servertest.Redis(t))
			test.begin(t, client)
			key := lookedFor + testEvents(1)[0].TaskID()
			client.HSet(t.Context(), key, "mark", "the old one")
			if err := publisher.Publish(t.Context(), testEvents(1))[0].Failure(); err != nil {
				t.Fatal(err)
			}
			state, mark := client.HGet(t.Context(), key, "state").Val(), client.HGet(t.Context(), key, "mark").Val()
			if mark == "" {
				state = "again"
			}
			if state != test.want {
				t.Errorf("the task is %s, want %s", state, test.want)
			}
			inList := client.LPos(t.Context(), "asynq:{default}:pending", testEvents(1)[0].TaskID(), redis.LPosArgs{}).Err() == nil
			leased := client.ZScore(t.Context(), "asynq:{default}:lease", testEvents(1)[0].TaskID()).Err() == nil
			if inList != (test.want == "again" || test.want == "pending") || leased != (test.want == "active") {
				t.Errorf("in the list: %v, with a lease: %v", inList, leased)
			}
		})
	}
}

// Nobody would confirm a repeat of a type that nobody confirms, nor absorb it.
func TestPublishLeavesACompletedTaskOfATypeThatNobodyConfirms(t *testing.T) {
	t.Parallel()
	publisher, client := newPublisher(t, servertest.Redis(t))
	publisher.Unconfirmed([]string{"test:a"})
	pendingTask(t, client, asynq.Retention(time.Hour))
	run(t, client, nil)
	if err := publisher.Publish(t.Context(), testEvents(1))[0].Failure(); err != nil {
		t.Fatal(err)
	}
	if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 0 {
		t.Errorf("%d tasks wait, want none", n)
	}
}

// What is shown of a task is what a worker would find.
func TestFindTasksTellsRemains(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	_, client := newPublisher(t, url)
	event := testEvents(1)[0]
	finder := newTaskFinder(t, url)
	state := func() string {
		t.Helper()
		tasks, err := finder.Tasks(t.Context(), &event)
		if err != nil || tasks == nil {
			t.Fatalf("%v, %v", tasks, err)
		}
		if len(tasks) == 0 {
			return "none"
		}
		return tasks[0].State
	}
	if got := state(); got != "none" {
		t.Errorf("without a task: %s", got)
	}
	pendingTask(t, client)
	if got := state(); got != "pending" {
		t.Errorf("a task that waits: %s", got)
	}
	client.HDel(t.Context(), lookedFor+event.TaskID(), "msg")
	if got := state(); got != domain.StateStranded {
		t.Errorf("a task without its message: %s", got)
	}
}
