package publish_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
)

// Every event has its own result, whatever becomes of the other events of its batch.
func TestPublishJudgesEachEvent(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	if err := client.Set(t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	events := jobstest.Events(200)
	events[50].Type, events[60].Queue, events[70].Queue = " ", " ", "broken"
	for range 2 { // the second time everything is there, or refused again
		for i, receipt := range publisher.Publish(t.Context(), events) {
			err := receipt.Failure()
			want := domain.Code("")
			switch i {
			case 50, 60:
				want = domain.CodeInvalid
			case 70:
				want = domain.CodeInternal
			}
			if got := domain.ErrorCode(err); got != want {
				t.Errorf("event %d: %v, want code %q", i, err, want)
			}
		}
	}
	if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 197 {
		t.Errorf("%d tasks, want 197", n)
	}
	if n := client.Exists(t.Context(), "asynq:{broken}:t:"+events[70].TaskID()).Val(); n != 0 {
		t.Error("a refused event left half a task, which a retry would take for delivered")
	}
}

// Each of these is an outage, which charges no attempt.
func TestPublishKnowsAnOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		begin, end func(*redis.Client, *redistest.Server) error
	}{
		"killed": {
			func(_ *redis.Client, s *redistest.Server) error { s.Kill(); return nil },
			func(_ *redis.Client, s *redistest.Server) error { s.Start(); return nil },
		},
		"suspended": {
			func(_ *redis.Client, s *redistest.Server) error { s.Pause(); return nil },
			func(_ *redis.Client, s *redistest.Server) error { s.Resume(); return nil },
		},
		"out of memory": {
			func(c *redis.Client, _ *redistest.Server) error {
				return c.ConfigSet(t.Context(), "maxmemory", "1").Err()
			},
			func(c *redis.Client, _ *redistest.Server) error {
				return c.ConfigSet(t.Context(), "maxmemory", "0").Err()
			},
		},
		"a replica": {
			func(c *redis.Client, _ *redistest.Server) error {
				return c.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()
			},
			func(c *redis.Client, _ *redistest.Server) error {
				return c.ReplicaOf(t.Context(), "no", "one").Err()
			},
		},
		"forbids what the script does last": {
			func(c *redis.Client, _ *redistest.Server) error {
				return c.Do(t.Context(), "ACL", "SETUSER", "default", "-lpush").Err()
			},
			func(c *redis.Client, _ *redistest.Server) error {
				return c.Do(t.Context(), "ACL", "SETUSER", "default", "+lpush").Err()
			},
		},
		"wants a password": {
			func(c *redis.Client, _ *redistest.Server) error {
				return c.Do(t.Context(), "ACL", "SETUSER", "default", "-@all", "+acl", "+auth", "+hello", "+client").Err()
			},
			func(c *redis.Client, _ *redistest.Server) error {
				return c.Do(t.Context(), "ACL", "SETUSER", "default", "+@all").Err()
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			publisher, client := jobstest.Publisher(t, server.URL())
			if err := publisher.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := test.begin(client, server); err != nil {
				t.Fatal(err)
			}
			events := jobstest.Events(100)
			for i, receipt := range publisher.Publish(t.Context(), events) {
				err := receipt.Failure()
				if domain.ErrorCode(err) != domain.CodeUnavailable {
					t.Fatalf("event %d: %v, want unavailable", i, err)
				}
			}
			if err := publisher.Ping(t.Context()); name != "forbids what the script does last" && domain.ErrorCode(err) != domain.CodeUnavailable {
				t.Errorf("Ping: %v, want unavailable", err)
			}
			if err := test.end(client, server); err != nil {
				t.Fatal(err)
			}
			servertest.Eventually(t, "Ping succeeds", func() bool { return publisher.Ping(t.Context()) == nil })
			for i, receipt := range publisher.Publish(t.Context(), events) {
				err := receipt.Failure()
				if err != nil {
					t.Fatalf("event %d after the outage: %v", i, err)
				}
			}
			if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); n != int64(len(events)) {
				t.Errorf("%d tasks, want %d", n, len(events))
			}
		})
	}
}

// If Redis comes back empty after an outage, the Publisher announces the queues again.
func TestPublishTellsAnEmptiedRedisAboutItsQueues(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	publisher, client := jobstest.Publisher(t, server.URL())
	publish := func() (last error) {
		for _, receipt := range publisher.Publish(t.Context(), jobstest.Events(1)) {
			err := receipt.Failure()
			last = err
		}
		return last
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	server.Flush()
	server.Kill()
	if err := publish(); err == nil {
		t.Fatal("published to a dead Redis")
	}
	server.Start()
	servertest.Eventually(t, "Redis takes tasks", func() bool { return publish() == nil })
	if !client.SIsMember(t.Context(), "asynq:queues", "default").Val() {
		t.Error("the queue is unknown to Asynq's tools")
	}
}

// A unique task takes its lock before anything else. If Redis refuses the lock, the existing task is from an
// earlier Publish, and must stay.
func TestARefusedLockLeavesTheTaskAlone(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]struct{ begin, end []any }{
		"out of memory": {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"no SET":        {[]any{"ACL", "SETUSER", "default", "-set"}, []any{"ACL", "SETUSER", "default", "+set"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publisher, client := jobstest.Publisher(t, redistest.Start(t).URL())
			events := jobstest.Events(1)
			events[0].Options.Unique = time.Hour
			publish := func(want domain.Code) {
				t.Helper()
				if err := publisher.Publish(t.Context(), events)[0].Failure(); domain.ErrorCode(err) != want {
					t.Fatalf("%v, want code %q", err, want)
				}
			}
			do := func(args ...any) {
				t.Helper()
				if err := client.Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			publish("")
			locks, err := client.Keys(t.Context(), "asynq:{default}:unique:*").Result()
			if err != nil || len(locks) != 1 {
				t.Fatalf("locks %q, %v", locks, err)
			}
			do("DEL", locks[0]) // as if its time were over
			do(refusal.begin...)
			publish(domain.CodeUnavailable)
			do(refusal.end...)
			publish("")
			message, err := client.HGet(t.Context(), "asynq:{default}:t:"+events[0].TaskID(), "msg").Result()
			if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); err != nil || message == "" || n != 1 {
				t.Errorf("%d pending, of a task with the message %q, %v", n, message, err)
			}
		})
	}
}

// If a unique task did not get into its queue, its remains are deleted together with
// its lock.
func TestHalfAUniqueTaskIsClearedAway(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	if err := client.Set(t.Context(), "asynq:{default}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	events := jobstest.Events(1)
	events[0].Options.Unique = time.Hour
	if err := publisher.Publish(t.Context(), events)[0].Failure(); err == nil {
		t.Fatal("a queue that is no list takes a task")
	}
	if err := client.Del(t.Context(), "asynq:{default}:pending").Err(); err != nil {
		t.Fatal(err)
	}
	err := publisher.Publish(t.Context(), events)[0].Failure()
	if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); err != nil || n != 1 {
		t.Errorf("%v, %d tasks are pending, want 1", err, n)
	}
}

// A delivery waits for a database that is away without meeting a limit of Asynq's, which would charge it an attempt.
func TestADeliveryHasNoLimitOfAsynqs(t *testing.T) {
	t.Parallel()
	publisher, client := jobstest.Publisher(t, servertest.Redis(t))
	events := jobstest.Events(1)
	events[0].Subscription, events[0].Options.Timeout = "crm", time.Second
	if err := publisher.Publish(t.Context(), events)[0].Failure(); err != nil {
		t.Fatal(err)
	}
	task, err := asynq.NewInspectorFromRedisClient(client).GetTaskInfo("default", events[0].TaskID())
	if err != nil {
		t.Fatal(err)
	}
	if task.Timeout < time.Hour || task.MaxRetry < 1_000_000 {
		t.Errorf("the task ends after %v, with %d retries", task.Timeout, task.MaxRetry)
	}
}
