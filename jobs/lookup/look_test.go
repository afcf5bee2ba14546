package lookup_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/lookup"
)

func newTaskFinder(t *testing.T, url string) *lookup.Finder {
	t.Helper()
	return lookup.New(jobstest.OpenRedis(t, url))
}

// A task counts as there only where a worker will find it.
func TestLookTellsTasksFromTheirRemains(t *testing.T) {
	t.Parallel()
	key := jobstest.TaskKeyPrefix + jobstest.Events(1)[0].TaskID()
	tests := map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  queued.TaskPresence
	}{
		"nothing": {func(*testing.T, *redis.Client) {}, queued.TaskMissing},
		"pending": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c) }, queued.TaskUnfinished},
		"pending, list deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
		}, queued.TaskStranded},
		"pending, list deleted, others came": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
			jobstest.EnqueueOthers(t, c, 1500)
		}, queued.TaskStranded},
		"pending before many others": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.EnqueueOthers(t, c, 1500)
		}, queued.TaskUnfinished},
		"pending behind many others": {func(t *testing.T, c *redis.Client) {
			jobstest.EnqueueOthers(t, c, 1500)
			jobstest.PendingTask(t, c)
		}, queued.TaskUnfinished},
		"pending behind many others, by a clock that is slow": {func(t *testing.T, c *redis.Client) {
			jobstest.EnqueueOthers(t, c, 1500)
			jobstest.PendingTask(t, c)
			c.HSet(t.Context(), key, "pending_since", time.Now().Add(-time.Hour).UnixNano())
		}, queued.TaskUnfinished},
		"given back by a worker that stopped": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.HDel(t.Context(), key, "pending_since")
			jobstest.EnqueueOthers(t, c, 5)
		}, queued.TaskUnfinished},
		"hash deleted": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); c.Del(t.Context(), key) }, queued.TaskMissing},
		"hash deleted, and made again by a worker": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), key)
			jobstest.Take(t, c)
		}, queued.TaskStranded},
		"active": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Take(t, c) }, queued.TaskUnfinished},
		"active, lease deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Take(t, c)
			c.Del(t.Context(), "asynq:{default}:lease")
		}, queued.TaskStranded},
		"active, list deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Take(t, c)
			c.Del(t.Context(), "asynq:{default}:active")
		}, queued.TaskStranded},
		"to be tried again": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Run(t, c, fmt.Errorf("no"))
		}, queued.TaskUnfinished},
		"to be tried again, set deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Run(t, c, fmt.Errorf("no"))
			c.Del(t.Context(), "asynq:{default}:retry")
		}, queued.TaskStranded},
		"completed": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c, asynq.Retention(time.Hour))
			jobstest.Run(t, c, nil)
		}, queued.TaskCompleted},
		"archived": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Run(t, c, asynq.SkipRetry) }, queued.TaskArchived},
		"archived, set deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Run(t, c, asynq.SkipRetry)
			c.Del(t.Context(), "asynq:{default}:archived")
		}, queued.TaskStranded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.Redis(t)
			_, client := jobstest.Publisher(t, url)
			test.begin(t, client)
			found, err := newTaskFinder(t, url).Look(t.Context(), jobstest.Events(1))
			if err != nil || found[0] != test.want {
				t.Errorf("the task %v (%v), want: it %v", found[0], err, test.want)
			}
		})
	}
}

// The hook deletes calls the function do once, after the first chunk of a list was read.
type deletes struct {
	stuck
	once sync.Once
	do   func()
}

func (d *deletes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, c redis.Cmder) error {
		err := next(ctx, c)
		if c.Name() == "lrange" {
			d.once.Do(d.do)
		}
		return err
	}
}

func (d *deletes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// While a long list is read in chunks, other tasks are deleted from it, a few or many. The task counts as there.
func TestLookFindsATaskInAListThatGetsShorter(t *testing.T) {
	t.Parallel()
	for _, deleted := range []int{500, 5000} {
		url := servertest.Redis(t)
		_, client := jobstest.Publisher(t, url)
		jobstest.EnqueueOthers(t, client, 1500)
		jobstest.PendingTask(t, client)
		for range 20 { // a second chunk
			jobstest.EnqueueOthers(t, client, 501)
		}
		handle := jobstest.OpenRedis(t, url)
		handle.Client().AddHook(&deletes{do: func() { client.LPopCount(t.Context(), "asynq:{default}:pending", deleted) }})
		if found, err := lookup.New(handle).Look(t.Context(), jobstest.Events(1)); err != nil || found[0] != queued.TaskUnfinished {
			t.Errorf("after %d others were deleted the task %v (%v)", deleted, found[0], err)
		}
	}
}

// A worker that has lost its lease still runs the task. The task counts as there,
// so that it is not sent again.
func TestLookLeavesARunningTaskWithoutItsLease(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	_, client := jobstest.Publisher(t, url)
	jobstest.PendingTask(t, client)
	server := asynq.NewServerFromRedisClient(client, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond})
	running, end := make(chan struct{}), make(chan struct{})
	if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { close(running); <-end; return nil })); err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	defer close(end)
	<-running
	inspector := asynq.NewInspectorFromRedisClient(client)
	servertest.Eventually(t, "the worker says what it runs", func() bool {
		servers, _ := inspector.Servers()
		return len(servers) == 1 && len(servers[0].ActiveWorkers) == 1
	})
	client.Del(t.Context(), "asynq:{default}:lease")
	if found, err := newTaskFinder(t, url).Look(t.Context(), jobstest.Events(1)); err != nil || found[0] != queued.TaskUnfinished {
		t.Errorf("the running task %v (%v)", found[0], err)
	}
}

// A lookup shows a task as a worker would find it.
func TestFindTasksTellsRemains(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	_, client := jobstest.Publisher(t, url)
	event := jobstest.Events(1)[0]
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
		if !tasks[0].NextAt.IsZero() {
			t.Errorf("the %s task has a time: %v", tasks[0].State, tasks[0].NextAt)
		}
		return tasks[0].State
	}
	if got := state(); got != "none" {
		t.Errorf("without a task: %s", got)
	}
	jobstest.PendingTask(t, client)
	if got := state(); got != "pending" {
		t.Errorf("a task that waits: %s", got)
	}
	client.HDel(t.Context(), jobstest.TaskKeyPrefix+event.TaskID(), "msg")
	if got := state(); got != queued.StateStranded {
		t.Errorf("a task without its message: %s", got)
	}
}

// All queues that cannot be used are named at once, so that a second look can leave
// them out.
func TestLookNamesAllQueuesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := jobstest.OpenRedis(t, server.URL()).Client()
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "u", "on", ">secret", "+@all", "&*", "~asynq:{open}*").Err(); err != nil {
		t.Fatal(err)
	}
	finder := lookup.New(jobstest.OpenRedis(t, strings.Replace(server.URL(), "://", "://u:secret@", 1)))
	var events []domain.Event
	for i, queue := range []string{"one", "open", "two", "three"} {
		events = append(events, domain.Event{ID: domain.ID{1, 15: byte(i)}, Queue: queue})
	}
	_, err := finder.Look(t.Context(), events)
	if queues := domain.UnusableQueues(err); !slices.Equal(queues, []string{"one", "two", "three"}) || domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("%q, %v", queues, err)
	}
	if found, err := finder.Look(t.Context(), events[1:2]); err != nil || found[0] != queued.TaskMissing {
		t.Errorf("%v, %v", found, err)
	}
}

// A queue that this Redis user may not use hides no tasks of other queues.
func TestUnfinishedLeavesOutQueuesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := jobstest.OpenRedis(t, server.URL()).Client()
	publisher, _ := jobstest.Publisher(t, server.URL())
	events := jobstest.Events(2)
	events[0].Queue = "open"
	if receipts := publisher.Publish(t.Context(), events[:1]); !receipts[0].Received() {
		t.Fatalf("%+v", receipts)
	}
	for _, command := range [][]any{
		{"SADD", "asynq:queues", "theirs"},
		{"ACL", "SETUSER", "u", "on", ">secret", "+@all", "&*", "~asynq:{open}*", "~asynq:queues"},
	} {
		if err := admin.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	finder := lookup.New(jobstest.OpenRedis(t, strings.Replace(server.URL(), "://", "://u:secret@", 1)))
	if found, err := finder.Unfinished(t.Context(), events); err != nil || !slices.Equal(found, []bool{true, false}) {
		t.Errorf("%v, %v", found, err)
	}
}
