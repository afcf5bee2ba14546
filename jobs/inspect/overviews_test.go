package inspect_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest/redistest"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
)

// takeScript takes a task as workers do: it is active then, and no longer pending.
var takeScript = redis.NewScript(`
local id = redis.call("RPOPLPUSH", KEYS[1], KEYS[2])
if id then redis.call("HDEL", ARGV[1] .. id, "pending_since") end
return redis.status_reply("OK")`)

// A queue that workers drain has an oldest task as long as tasks wait.
func TestAQueueThatIsDrainedHasAnOldestTask(t *testing.T) {
	t.Parallel()
	const queue, tasks = "tickets", 20_000
	server := redistest.Start(t)
	client := connect(t, server.URL())
	since := time.Now().Add(-18 * time.Minute)
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.SAdd(t.Context(), broker.QueuesKey, queue)
		for n := range tasks {
			id := fmt.Sprint(n)
			pipe.HSet(t.Context(), broker.TaskKey(queue, id), "pending_since", since.UnixNano())
			pipe.LPush(t.Context(), broker.PendingKey(queue), id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	overviews := inspect.NewOverviews(open(t, server.URL()))
	ctx, stop := context.WithCancel(t.Context())
	drained := make(chan struct{})
	worker := connect(t, server.URL())
	go func() {
		defer close(drained)
		for ctx.Err() == nil {
			_ = takeScript.Run(ctx, worker, []string{broker.PendingKey(queue), broker.ActiveKey(queue)}, broker.TaskPrefix(queue)).Err()
		}
	}()
	for range 50 {
		queues, err := overviews.Queues(t.Context())
		if err != nil || len(queues) != 1 {
			t.Fatalf("%+v, %v", queues, err)
		}
		if q := queues[0]; q.Pending > 100 && q.OldestAt.Unix() != since.Unix() {
			t.Fatalf("of %d waiting tasks the oldest waits since %v, want %v", q.Pending, q.OldestAt, since)
		}
	}
	stop()
	<-drained
}
