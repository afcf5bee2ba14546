package publish_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/jobs/jobstest"
)

// A task that no worker would find is enqueued again, and so is a completed one. A task that waits,
// runs or is archived stays as it is.
func TestPublishClearsRemainsAway(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		begin func(t *testing.T, c *redis.Client)
		want  string // how the task waits afterwards
	}{
		"list deleted": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
		}, "again"},
		"list deleted, many came": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), "asynq:{default}:pending")
			jobstest.EnqueueOthers(t, c, 1500)
		}, "again"},
		"unique": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c, asynq.Unique(time.Hour))
			c.Del(t.Context(), "asynq:{default}:pending")
		}, "again"},
		"nothing but a state": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			c.Del(t.Context(), jobstest.TaskKeyPrefix+jobstest.Events(1)[0].TaskID())
			jobstest.Take(t, c)
		}, "again"},
		"active without a lease": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c)
			jobstest.Take(t, c)
			c.Del(t.Context(), "asynq:{default}:lease")
		}, "again"},
		"completed": {func(t *testing.T, c *redis.Client) {
			jobstest.PendingTask(t, c, asynq.Retention(time.Hour))
			jobstest.Run(t, c, nil)
		}, "again"},
		"pending": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c) }, "pending"},
		"pending among many, by a slow clock": {func(t *testing.T, c *redis.Client) {
			jobstest.EnqueueOthers(t, c, 1500)
			jobstest.PendingTask(t, c)
			c.HSet(t.Context(), jobstest.TaskKeyPrefix+jobstest.Events(1)[0].TaskID(), "pending_since", time.Now().Add(-time.Hour).UnixNano())
		}, "pending"},
		"active":   {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Take(t, c) }, "active"},
		"archived": {func(t *testing.T, c *redis.Client) { jobstest.PendingTask(t, c); jobstest.Run(t, c, asynq.SkipRetry) }, "archived"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publisher, client := jobstest.Publisher(t, servertest.Redis(t))
			test.begin(t, client)
			key := jobstest.TaskKeyPrefix + jobstest.Events(1)[0].TaskID()
			client.HSet(t.Context(), key, "mark", "the old one")
			if err := publisher.Publish(t.Context(), jobstest.Events(1))[0].Failure(); err != nil {
				t.Fatal(err)
			}
			state, mark := client.HGet(t.Context(), key, "state").Val(), client.HGet(t.Context(), key, "mark").Val()
			if mark == "" {
				state = "again"
			}
			if state != test.want {
				t.Errorf("the task is %s, want %s", state, test.want)
			}
			inList := client.LPos(t.Context(), "asynq:{default}:pending", jobstest.Events(1)[0].TaskID(), redis.LPosArgs{}).Err() == nil
			leased := client.ZScore(t.Context(), "asynq:{default}:lease", jobstest.Events(1)[0].TaskID()).Err() == nil
			if inList != (test.want == "again" || test.want == "pending") || leased != (test.want == "active") {
				t.Errorf("in the list: %v, with a lease: %v", inList, leased)
			}
		})
	}
}

// A repeated task of an unconfirmed type would take effect twice: no inbox
// absorbs it.
func TestPublishLeavesACompletedTaskOfATypeThatNobodyConfirms(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	publisher.Unconfirmed([]string{"test:a"})
	jobstest.PendingTask(t, client, asynq.Retention(time.Hour))
	jobstest.Run(t, client, nil)
	if err := publisher.Publish(t.Context(), jobstest.Events(1))[0].Failure(); err != nil {
		t.Fatal(err)
	}
	if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 0 {
		t.Errorf("%d tasks wait, want none", n)
	}
}
