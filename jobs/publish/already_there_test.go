package publish_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/broker"
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

// If Redis cannot say how a task is that exists, its event waits, and the task stays as it is. Events of other queues do
// not wait.
func TestPublishLeavesATaskAboutWhichItCannotAsk(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	events := jobstest.Events(4)
	events[2].Queue, events[3].Queue = "other", "other"
	for i, r := range publisher.Publish(t.Context(), events) {
		if r.Answer != domain.Accepted {
			t.Fatalf("event %d: %+v", i, r)
		}
	}
	for _, e := range events {
		client.HSet(t.Context(), broker.TaskKey(e.Queue, e.TaskID()), "state", "active")
		client.ZAdd(t.Context(), broker.LeaseKey(e.Queue), redis.Z{Member: e.TaskID(), Score: float64(time.Now().Add(time.Hour).Unix())})
		client.LRem(t.Context(), broker.PendingKey(e.Queue), 0, e.TaskID())
		client.LPush(t.Context(), broker.ActiveKey(e.Queue), e.TaskID())
	}
	client.Del(t.Context(), "asynq:{default}:active")
	client.Set(t.Context(), "asynq:{default}:active", "of another kind", 0)
	for i, r := range publisher.Publish(t.Context(), events) {
		if other := events[i].Queue == "other"; other && r.Answer != domain.AlreadyThere || !other && !slices.Equal(domain.UnusableQueues(r.Failure()), []string{"default"}) {
			t.Errorf("event %d of queue %s: %+v", i, events[i].Queue, r)
		}
		if !client.HExists(t.Context(), broker.TaskKey(events[i].Queue, events[i].TaskID()), "msg").Val() {
			t.Errorf("event %d: its task was removed", i)
		}
	}
}

// A key that is no hash is no task, so the event gets a new one.
func TestPublishReplacesAKeyOfAnotherKind(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	events := jobstest.Events(2)
	key := jobstest.TaskKeyPrefix + events[0].TaskID()
	client.Set(t.Context(), key, "of another kind", 0)
	for i, r := range publisher.Publish(t.Context(), events) {
		if r.Failure() != nil {
			t.Errorf("event %d: %+v", i, r)
		}
	}
	if state := client.HGet(t.Context(), key, "state").Val(); state != "pending" {
		t.Errorf("the task is %q", state)
	}
}

// A queue with a key of another kind and a queue whose keys are forbidden are outages of these queues, also in one batch.
func TestOutagesOfQueuesForSeveralReasonsStayApart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, admin := jobstest.Publisher(t, server.URL())
	jobstest.Allow(t, admin, "u", "on", ">secret", "+@all", "&*", "~asynq:{default}:*", "~asynq:{other}:*", "~asynq:queues", "~asynq:{outboxd}:*")
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	addUser(address, "u", "secret")
	publisher, _ := jobstest.Publisher(t, address.String())
	events := jobstest.Events(3)
	events[1].Queue, events[2].Queue = "denied", "other"
	if r := publisher.Publish(t.Context(), events[:1])[0]; r.Answer != domain.Accepted {
		t.Fatalf("%+v", r)
	}
	admin.HSet(t.Context(), broker.TaskKey("default", events[0].TaskID()), "state", "active")
	admin.ZAdd(t.Context(), broker.LeaseKey("default"), redis.Z{Member: events[0].TaskID(), Score: float64(time.Now().Add(time.Hour).Unix())})
	admin.Set(t.Context(), broker.ActiveKey("default"), "of another kind", 0)
	receipts := publisher.Publish(t.Context(), events)
	for i, want := range []string{"default", "denied"} {
		if unusable := domain.UnusableQueues(receipts[i].Failure()); !slices.Equal(unusable, []string{want}) {
			t.Errorf("the outage of queue %s is one of %q: %v", want, unusable, receipts[i].Failure())
		}
	}
	if receipts[2].Answer != domain.Accepted {
		t.Errorf("%+v", receipts[2])
	}
}
