package jobs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
)

// A task that waits is deleted, wherever it waits, and one that runs is left.
func TestTasksAreRemovedUnlessTheyRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  bool
	}{
		"nothing":   {func(*testing.T, *redis.Client) {}, true},
		"pending":   {func(t *testing.T, c *redis.Client) { pendingTask(t, c, asynq.Unique(time.Hour)) }, true},
		"scheduled": {func(t *testing.T, c *redis.Client) { pendingTask(t, c, asynq.ProcessIn(time.Hour)) }, true},
		"active":    {func(t *testing.T, c *redis.Client) { pendingTask(t, c); take(t, c) }, false},
		"retry":     {func(t *testing.T, c *redis.Client) { pendingTask(t, c); run(t, c, errors.New("no")) }, true},
		"archived":  {func(t *testing.T, c *redis.Client) { pendingTask(t, c, asynq.MaxRetry(0)); run(t, c, errors.New("no")) }, true},
		"completed": {func(t *testing.T, c *redis.Client) { pendingTask(t, c, asynq.Retention(time.Hour)); run(t, c, nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.Redis(t)
			_, client := newPublisher(t, url)
			c.begin(t, client)
			removed, err := newTaskFinder(t, url).Remove(t.Context(), testEvents(1))
			if err != nil || removed[0] != c.want {
				t.Fatalf("Remove: %v, %v, want %t", removed, err, c.want)
			}
			if left := client.Exists(t.Context(), lookedFor+testEvents(1)[0].TaskID()).Val(); left == 1 == c.want {
				t.Errorf("the task is left: %d", left)
			}
			if locks := client.Keys(t.Context(), "asynq:*:unique:*").Val(); len(locks) > 0 {
				t.Errorf("locks are left: %v", locks)
			}
		})
	}
}
