package retries_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	ids "outboxd/client"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/retries"
)

// The function fail enqueues tasks in the queue "mail" and lets Asynq's own worker fail at each.
func fail(t *testing.T, client *redis.Client, tasks map[string]*asynq.Task) {
	t.Helper()
	queue := asynq.NewClientFromRedisClient(client)
	for id, task := range tasks {
		if _, err := queue.EnqueueContext(t.Context(), task, asynq.Queue("mail"), asynq.TaskID(id), asynq.MaxRetry(7)); err != nil {
			t.Fatal(err)
		}
	}
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency: 4, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond, Queues: map[string]int{"mail": 1},
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		if task.Type() == "nobody:knows" {
			return fmt.Errorf("%w %q", asynq.ErrHandlerNotFound, task.Type())
		}
		return fmt.Errorf("dial tcp 10.0.0.7:25: connection refused, for %s", id)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	servertest.Eventually(t, "every task has failed", func() bool {
		return client.ZCard(t.Context(), "asynq:{mail}:retry").Val() == int64(len(tasks))
	})
}

// TestFailingTasks lists and groups failing tasks, reads their attempts and errors,
// makes one task due, and gives the others up.
func TestFailingTasks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := jobstest.OpenRedis(t, server.URL())
	client, _ := r.Client().(*redis.Client)
	// The payload looks like further fields of the message, and must not be read as
	// such.
	payload := bytes.Repeat([]byte{0x3a, 3, 'b', 'a', 'd'}, 50_000)
	sent := map[string]*asynq.Task{}
	for i := range 5 {
		sent[newID()] = asynq.NewTask([]string{"mail:send", "mail:send", "mail:send", "mail:bulk", "nobody:knows"}[i], payload)
	}
	fail(t, client, sent)
	tasks := retries.New(r)

	all, more, err := tasks.All(t.Context(), 10)
	if err != nil || more || len(all) != len(sent) {
		t.Fatalf("%d of %d tasks are failing, %t, %v", len(all), len(sent), more, err)
	}
	if some, more, err := tasks.All(t.Context(), 2); err != nil || !more || len(some) != 2 {
		t.Errorf("two of them are %d, more: %t, %v", len(some), more, err)
	}
	found, err := tasks.Failing(t.Context(), append(all, queued.TaskRef{Queue: "mail", TaskID: "none"}, queued.TaskRef{Queue: "other", TaskID: all[0].TaskID}))
	if err != nil || len(found) != len(sent) {
		t.Fatalf("found %d, %v", len(found), err)
	}
	for id, task := range found {
		unhandled := task.Type == "nobody:knows"
		if task.Type != sent[id].Type() || task.Failed != 1 || task.Attempts != 8 || task.Unhandled != unhandled || !unhandled && !strings.Contains(task.Error, "connection refused, for "+id) {
			t.Errorf("%+v", task)
		}
		if in := time.Until(task.NextAt); in < 59*time.Minute || in > 61*time.Minute || time.Since(task.FailedAt) > time.Minute {
			t.Errorf("failed at %v, next at %v", task.FailedAt, task.NextAt)
		}
	}
	s, err := tasks.Summary(t.Context())
	if err != nil || s.Tasks != 5 || s.Estimated || len(s.Groups) != 3 {
		t.Fatalf("summary %+v, %v", s, err)
	}
	if g := s.Groups[0]; g.Type != "mail:send" || g.Tasks != 3 || g.ErrorForm != "dial tcp #.#.#.#:#: connection refused, for #" || g.Left != 7 {
		t.Errorf("the largest group is %+v", g)
	}

	retried, err := tasks.Retry(t.Context(), append(all[:1:1], queued.TaskRef{Queue: "mail", TaskID: "none"}))
	if err != nil || len(retried) != 1 || retried[0] != all[0] {
		t.Fatalf("retried %v, %v", retried, err)
	}
	if info, err := r.Inspector().GetTaskInfo("mail", all[0].TaskID); err != nil || info.State != asynq.TaskStatePending || info.Retried != 1 {
		t.Errorf("it is %+v, %v", info, err)
	}
	if again, err := tasks.Retry(t.Context(), all[:1]); err != nil || len(again) != 0 {
		t.Errorf("a pending task was retried: %v, %v", again, err)
	}
	given, err := tasks.Archive(t.Context(), all)
	if err != nil || len(given) != 4 {
		t.Fatalf("gave up %v, %v", given, err)
	}
	if info, err := r.Inspector().GetTaskInfo("mail", all[1].TaskID); err != nil || info.State != asynq.TaskStateArchived {
		t.Errorf("it is %+v, %v", info, err)
	}
}

// If there are very many failing tasks, a summary reads only a sample of them, and
// its counts are estimates.
func TestASummaryOfManyTasksIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := jobstest.OpenRedis(t, server.URL())
	const many = 2999
	failMany(t, r, many, "mail")
	s, err := retries.New(r).Summary(t.Context())
	if err != nil || s.Tasks != many+1 || !s.Estimated || len(s.Groups) != 1 || s.Groups[0].Tasks != many+1 {
		t.Errorf("summary %+v, %v", s, err)
	}
}

func newID() string { return ids.NewID().String() }

// failMany lets a task of the queue mail fail, and puts many copies of it into the retry set of each of the queues.
func failMany(t *testing.T, r *broker.Redis, many int, queues ...string) {
	t.Helper()
	client, _ := r.Client().(*redis.Client)
	fail(t, client, map[string]*asynq.Task{newID(): asynq.NewTask("mail:send", nil)})
	id := client.ZRange(t.Context(), "asynq:{mail}:retry", 0, 0).Val()[0]
	message := client.HGet(t.Context(), "asynq:{mail}:t:"+id, "msg").Val()
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for _, queue := range queues {
			pipe.SAdd(t.Context(), "asynq:queues", queue)
			for i := range many {
				other := newID()
				pipe.ZAdd(t.Context(), "asynq:{"+queue+"}:retry", redis.Z{Score: float64(time.Now().Unix() + int64(i)), Member: other})
				pipe.HSet(t.Context(), "asynq:{"+queue+"}:t:"+other, "msg", message, "state", "retry")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each queue with failing tasks is in a summary, however many failing tasks the queues before it have.
func TestASummaryLeavesOutNoQueue(t *testing.T) {
	t.Parallel()
	const many, queues = 2001, 7
	server := redistest.Start(t)
	r := jobstest.OpenRedis(t, server.URL())
	var names []string
	for n := range queues {
		names = append(names, fmt.Sprintf("all-%d", n)) // before "mail"
	}
	failMany(t, r, many, names...)
	s, err := retries.New(r).Summary(t.Context())
	if err != nil || s.Tasks != queues*many+1 || !s.Estimated || len(s.Groups) != queues+1 {
		t.Fatalf("%d tasks in %d groups, estimated: %t, %v", s.Tasks, len(s.Groups), s.Estimated, err)
	}
	for n, g := range s.Groups {
		if want := int64(many); n < queues && g.Tasks != want || n == queues && (g.Tasks != 1 || g.Queue != "mail") {
			t.Errorf("%d tasks in queue %s", g.Tasks, g.Queue)
		}
	}
}
