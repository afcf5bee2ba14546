package jobstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
)

// PendingTask enqueues the task of the first of the Events, as Asynq's client does.
func PendingTask(t *testing.T, client *redis.Client, options ...asynq.Option) {
	t.Helper()
	publisher := asynq.NewClientFromRedisClient(client)
	event := Events(1)[0]
	task := asynq.NewTask(event.Type, []byte("x"), append(options, asynq.TaskID(event.TaskID()))...)
	if _, err := publisher.EnqueueContext(t.Context(), task); err != nil {
		t.Fatal(err)
	}
}

// TaskKeyPrefix is the beginning of the keys of all tasks of the queue default.
const TaskKeyPrefix = "asynq:{default}:t:"

// Take takes the task of PendingTask from the queue as a worker of Asynq does, and then
// does nothing more with it, like a worker that dies.
func Take(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx, key := t.Context(), TaskKeyPrefix+Events(1)[0].TaskID()
	id := client.LMove(ctx, "asynq:{default}:pending", "asynq:{default}:active", "RIGHT", "LEFT").Val()
	client.HSet(ctx, key, "state", "active")
	client.HDel(ctx, key, "pending_since")
	if err := client.ZAdd(ctx, "asynq:{default}:lease", redis.Z{Score: float64(time.Now().Add(30 * time.Second).Unix()), Member: id}).Err(); err != nil {
		t.Fatal(err)
	}
}

// Run lets a worker of Asynq run the task of PendingTask. The handler returns the given
// result.
func Run(t *testing.T, client *redis.Client, result error) {
	t.Helper()
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond,
	})
	err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return result }))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	key := TaskKeyPrefix + Events(1)[0].TaskID()
	servertest.Eventually(t, "the task has run", func() bool {
		state := client.HGet(t.Context(), key, "state").Val()
		return state != "pending" && state != "active"
	})
}

// EnqueueOthers adds n tasks with other IDs to the queue, behind the tasks that are
// already there.
func EnqueueOthers(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i := range n {
			id := fmt.Sprintf("other-%d", i)
			pipe.HSet(t.Context(), TaskKeyPrefix+id, "msg", "m", "state", "pending", "pending_since", time.Now().UnixNano())
			pipe.LPush(t.Context(), "asynq:{default}:pending", id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
