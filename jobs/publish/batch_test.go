package publish_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
)

// If Redis refuses a batch, no half of a task is left. Nothing that was there is removed: not even
// a living task whose queue cannot be written now.
func TestARefusedBatchLeavesNothingAndTakesNothing(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, redistest.Start(t).URL())
	events, ctx := jobstest.Events(30), t.Context()
	if err := publisher.Publish(ctx, events[15:16])[0].Failure(); err != nil {
		t.Fatal(err)
	}
	may := func(rule string) {
		t.Helper()
		jobstest.Allow(t, client, "default", rule)
	}
	may("-lpush")
	for i, receipt := range publisher.Publish(ctx, events) {
		if got := domain.ErrorCode(receipt.Failure()); got != domain.CodeUnavailable && i != 15 {
			t.Errorf("event %d, while Redis refuses: %v", i, receipt.Failure())
		}
	}
	if keys := client.Keys(ctx, jobstest.TaskKeyPrefix+"*").Val(); len(keys) != 1 {
		t.Errorf("there are %d tasks, want the one that lives", len(keys))
	}
	may("+lpush")
	for i, receipt := range publisher.Publish(ctx, events) {
		if receipt.Failure() != nil {
			t.Errorf("event %d, when Redis takes them again: %v", i, receipt.Failure())
		}
	}
	if n := client.LLen(ctx, "asynq:{default}:pending").Val(); n != 30 {
		t.Errorf("%d tasks, want 30", n)
	}
}

// Events of several queues keep their order in each, also where Redis has forgotten the script.
func TestBatchesKeepTheOrderOfEachQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	publisher, client := jobstest.Publisher(t, server.URL())
	events := jobstest.Events(250)
	for i := range events {
		events[i].Queue = []string{"a", "b", "c"}[i%3]
	}
	for range 2 {
		for i, receipt := range publisher.Publish(t.Context(), events) {
			if receipt.Failure() != nil {
				t.Errorf("event %d: %v", i, receipt.Failure())
			}
		}
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, queue := range []string{"a", "b", "c"} {
		ids := client.LRange(t.Context(), "asynq:{"+queue+"}:pending", 0, -1).Val()
		for n, id := range ids {
			if at := 3*(len(ids)-1-n) + map[string]int{"a": 0, "b": 1, "c": 2}[queue]; events[at].TaskID() != id {
				t.Fatalf("queue %s is out of order at %d", queue, n)
			}
		}
	}
}

// Asynq's worker and inspector read what a batch wrote as what Asynq's client wrote.
func TestAsynqReadsABatch(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	retries := 3
	events := jobstest.Events(60)
	for i := range events {
		e := &events[i]
		e.Payload = fmt.Appendf(nil, "payload %d", i)
		switch i % 4 {
		case 1:
			e.Headers = map[string]string{"traceparent": "00-x", "n": fmt.Sprint(i)}
		case 2:
			e.Options = domain.TaskOptions{MaxRetry: &retries, Timeout: time.Minute, Retention: time.Hour, Deadline: time.Now().Add(time.Hour).Truncate(time.Second)}
		case 3:
			e.Generation = i
		}
	}
	for i, receipt := range publisher.Publish(t.Context(), events) {
		if receipt.Answer != domain.Accepted {
			t.Fatalf("event %d: %+v", i, receipt)
		}
	}
	inspector := asynq.NewInspectorFromRedisClient(client)
	for i := range events {
		e := &events[i]
		info, err := inspector.GetTaskInfo("default", e.TaskID())
		if err != nil || info.State != asynq.TaskStatePending || info.Type != e.Type || string(info.Payload) != string(e.Payload) || !maps.Equal(info.Headers, e.Headers) {
			t.Fatalf("event %d is %+v, %v", i, info, err)
		}
		if i%4 == 2 && (info.MaxRetry != 3 || info.Timeout != time.Minute || info.Retention != time.Hour || !info.Deadline.Equal(e.Options.Deadline)) {
			t.Errorf("event %d has other options: %+v", i, info)
		}
		if i%4 != 2 && (info.MaxRetry != 25 || info.Timeout != 30*time.Minute || !info.Deadline.IsZero()) {
			t.Errorf("event %d has other defaults: %+v", i, info)
		}
	}
	var mu sync.Mutex
	seen := map[string]string{}
	server := asynq.NewServerFromRedisClient(client, asynq.Config{Concurrency: 8, LogLevel: asynq.FatalLevel})
	if err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		mu.Lock()
		defer mu.Unlock()
		seen[id] = string(task.Payload())
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	servertest.Eventually(t, "all have run", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == len(events) })
	for i := range events {
		if seen[events[i].TaskID()] != string(events[i].Payload) {
			t.Errorf("event %d ran with %q", i, seen[events[i].TaskID()])
		}
	}
}
