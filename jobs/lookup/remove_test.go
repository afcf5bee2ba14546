package lookup_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/jobs/jobstest"
)

// A task that waits is deleted, wherever it waits, and one that runs is left.
func TestTasksAreRemovedUnlessTheyRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  bool
	}{
		"nothing":   {func(*testing.T, *redis.Client) {}, true},
		"pending":   {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c, asynq.Unique(time.Hour)) }, true},
		"scheduled": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c, asynq.ProcessIn(time.Hour)) }, true},
		"active":    {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Take(t, c) }, false},
		"retry":     {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Run(t, c, errors.New("no")) }, true},
		"archived": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c, asynq.MaxRetry(0))
			jobstest.Run(t, c, errors.New("no"))
		}, true},
		"completed": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c, asynq.Retention(time.Hour))
			jobstest.Run(t, c, nil)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.Redis(t)
			_, client := jobstest.Publisher(t, url)
			c.begin(t, client)
			removed, err := newTaskFinder(t, url).Remove(t.Context(), jobstest.Events(1))
			if err != nil || removed[0] != c.want {
				t.Fatalf("Remove: %v, %v, want %t", removed, err, c.want)
			}
			if left := client.Exists(t.Context(), jobstest.TaskKeyPrefix+jobstest.Events(1)[0].TaskID()).Val(); left == 1 == c.want {
				t.Errorf("the task is left: %d", left)
			}
			if locks := client.Keys(t.Context(), "asynq:*:unique:*").Val(); len(locks) > 0 {
				t.Errorf("locks are left: %v", locks)
			}
		})
	}
}
