package work_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/encoding/protowire"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/inspect"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
)

// neighbour starts an ordinary Asynq worker beside the shop's. done returns how often it ran each task.
func (s *shop) neighbour(taskType string, config asynq.Config) (done func() map[string]int) {
	s.t.Helper()
	var mu sync.Mutex
	seen := map[string]int{}
	mux := asynq.NewServeMux()
	mux.HandleFunc(taskType, func(ctx context.Context, _ *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprintf("%s/%d", id, retried)]++
		return nil
	})
	config.LogLevel = asynq.FatalLevel
	server := asynq.NewServerFromRedisClient(s.redis, config)
	if err := server.Start(mux); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Shutdown)
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(seen)
	}
}

// The handler nothing has no effect.
func nothing(context.Context, domain.Effects, work.Task) error { return nil }

func TestANeighbourGetsItsTasks(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]asynq.Config{
		"one queue":       {Concurrency: 1, Queues: map[string]int{"default": 1}},
		"strict priority": {Concurrency: 2, Queues: map[string]int{"critical": 2, "default": 1}, StrictPriority: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, servertest.Redis(t), map[string]work.Handler{"ours": nothing})
			for queue := range config.Queues {
				s.options.Queues[queue] = 6
			}
			s.start()
			servertest.Eventually(t, "the worker runs", func() bool { servers, _ := s.inspector.Servers(); return len(servers) == 1 })
			const each = 20
			for n := range byte(each) {
				s.enqueue("order:paid", newID(n).String(), []byte("{}"))
				s.enqueue("ours", newID(n+100).String(), []byte("{}"))
				if config.StrictPriority {
					s.enqueue("order:paid", newID(n+50).String(), []byte("{}"), asynq.Queue("critical"))
				}
			}
			// Until the neighbour comes, its tasks are left where they are.
			servertest.Eventually(t, "ours are done past the others", func() bool { return s.outcomes("ours", "done") == each })
			begun := time.Now()
			done := s.neighbour("order:paid", config)
			want := each * len(config.Queues)
			servertest.Eventually(t, "the neighbour's are done", func() bool { return len(done()) == want })
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			for task, times := range done() {
				if times != 1 || !strings.HasSuffix(task, "/0") {
					t.Errorf("%s ran %d times, want an unharmed task once", task, times)
				}
			}
			for queue := range config.Queues {
				servertest.Eventually(t, "the queue is empty", func() bool {
					info, err := s.inspector.GetQueueInfo(queue)
					return err == nil && info.Size == 0 && info.Failed == 0
				})
			}
			if n := s.outcomes("other", "unhandled"); n != 0 {
				t.Errorf("%v tasks were taken that nobody here knows", n)
			}
		})
	}
}

// raw returns what Asynq keeps in Redis of a queue and a task.
func (s *shop) raw(queue, id string) map[string]any {
	s.t.Helper()
	ctx, prefix := s.t.Context(), "asynq:{"+queue+"}:"
	hash := s.redis.HGetAll(ctx, prefix+"t:"+id).Val()
	if len(hash) == 0 {
		s.t.Fatalf("there is no task %s", id)
	}
	delete(hash, "outboxd_take") // which Asynq does not read
	_, pendingSince := hash["pending_since"]
	return map[string]any{
		"pending": s.redis.LRange(ctx, prefix+"pending", 0, -1).Val(), "active": s.redis.LRange(ctx, prefix+"active", 0, -1).Val(),
		"leases": s.redis.ZCard(ctx, prefix+"lease").Val(), "retry": s.redis.ZCard(ctx, prefix+"retry").Val(),
		"state": hash["state"], "since": pendingSince, "fields": len(hash), "processed": s.redis.Get(ctx, prefix+"processed").Val(),
	}
}

// TestATaskIsTakenAsByAsynq compares how the worker takes a task with how Asynq
// takes it.
func TestATaskIsTakenAsByAsynq(t *testing.T) {
	t.Parallel()
	running := func(own bool) map[string]any {
		begun, release := make(chan struct{}), make(chan struct{})
		s := newShop(t, servertest.Redis(t), map[string]work.Handler{"ours": func(context.Context, domain.Effects, work.Task) error {
			close(begun)
			<-release
			return nil
		}})
		t.Cleanup(func() { close(release) })
		id := newID(1).String()
		s.enqueue("ours", id, []byte("{}"))
		if own {
			s.options.Queues = map[string]int{"default": 1}
			s.start()
		} else {
			server := asynq.NewServerFromRedisClient(s.redis, asynq.Config{LogLevel: asynq.FatalLevel})
			if err := server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { close(begun); <-release; return nil })); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Shutdown() })
		}
		<-begun
		raw := s.raw("default", id)
		lease := s.redis.ZScore(t.Context(), "asynq:{default}:lease", id).Val()
		if left := time.Until(time.Unix(int64(lease), 0)); left < 20*time.Second || left > 31*time.Second {
			t.Errorf("the lease lasts %v", left)
		}
		return raw
	}
	if ours, asynqs := running(true), running(false); !reflect.DeepEqual(ours, asynqs) {
		t.Errorf("taken here: %v\nby Asynq:   %v", ours, asynqs)
	}
}

func TestATaskWithoutHandlerStaysWhereItIs(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	s := newShop(t, url, map[string]work.Handler{"ours": nothing})
	id := newID(1).String()
	s.enqueue("report:build", id, []byte("{}"), asynq.MaxRetry(0), asynq.Queue("low"))
	before := s.raw("low", id)
	for n := range byte(120) { // more than one window of them
		s.enqueue("report:build", newID(n+2).String(), []byte("{}"), asynq.Queue("low"))
	}
	s.enqueue("ours", newID(200).String(), nil, asynq.Queue("low"))
	stop := s.start()
	servertest.Eventually(t, "the task behind them is done", func() bool { return s.outcomes("ours", "done") == 1 })
	const gauge = `
# HELP outboxd_worker_queue_left_to_others 1 while this worker has no handler for the task at the head of the queue. It then leaves the queue to other workers.
# TYPE outboxd_worker_queue_left_to_others gauge
outboxd_worker_queue_left_to_others{queue="default"} 0
outboxd_worker_queue_left_to_others{queue="low"} 1
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(gauge), "outboxd_worker_queue_left_to_others"); err != nil {
		t.Error(err)
	}
	stop()
	after := s.raw("low", id)
	if pending := after["pending"].([]string); len(pending) != 121 || pending[120] != id {
		t.Errorf("%d tasks wait, want 121 and %s at the head", len(pending), id)
	}
	before["pending"], after["pending"] = nil, nil
	before["processed"] = "1"
	if !reflect.DeepEqual(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestAWorkerReadsTheTypeWhereverItIs(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"ours": nothing})
	typeFirst := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "ours")
	id := func(n byte) string { return newID(n).String() }
	for n, message := range []struct {
		kind   string
		encode func(begin, rest []byte) []byte
	}{
		{"ours", func(begin, rest []byte) []byte { return append(rest, begin...) }},
		{"another's", func(begin, rest []byte) []byte { return append(rest, begin...) }},
		{"twice", func(begin, rest []byte) []byte { return slices.Concat(typeFirst, begin, rest) }},
		{"damaged", func(_, _ []byte) []byte { return []byte{0xff} }},
	} {
		s.enqueue(message.kind, id(byte(n)), nil)
		key := "asynq:{default}:t:" + id(byte(n))
		encoded, err := s.redis.HGet(t.Context(), key, "msg").Bytes()
		if err != nil {
			t.Fatal(err)
		}
		begin := 2 + len(message.kind)
		if err := s.redis.HSet(t.Context(), key, "msg", message.encode(encoded[:begin:begin], encoded[begin:])).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	servertest.Eventually(t, "ours is done", func() bool { return s.outcomes("ours", "done") == 1 })
	// Of two types in one message, Asynq uses the last one. The worker took this task for one of ours,
	// and gives it back without charging an attempt.
	twice := s.state("default", id(2))
	servertest.Eventually(t, "the task with two types waits", func() bool { return twice(asynq.TaskStateRetry) })
	if info, err := s.inspector.GetTaskInfo("default", id(2)); err != nil || info.Retried != 0 {
		t.Errorf("%+v, %v, want an unharmed task", info, err)
	}
	if pending := s.redis.LRange(t.Context(), "asynq:{default}:pending", 0, -1).Val(); !slices.Equal(pending, []string{id(3), id(1)}) {
		t.Errorf("pending are %q, want another's and the damaged one, in their order", pending)
	}
}

func TestAnIDWithoutATaskIsDropped(t *testing.T) {
	t.Parallel()
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{"ours": nothing})
	for n := range byte(10) {
		s.enqueue("ours", newID(n).String(), nil)
		if n%2 == 0 {
			if err := s.redis.Del(t.Context(), "asynq:{default}:t:"+newID(n).String()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.start()
	servertest.Eventually(t, "the others are done", func() bool { return s.outcomes("ours", "done") == 5 })
	servertest.Eventually(t, "the queue is empty", func() bool {
		n, err := s.redis.Exists(t.Context(), "asynq:{default}:pending", "asynq:{default}:active", "asynq:{default}:lease").Result()
		return err == nil && n == 0
	})
	if n := s.redis.Exists(t.Context(), "asynq:{default}:t:"+newID(0).String()).Val(); n != 0 {
		t.Error("a task without a message came to be")
	}
}

func TestTheInspectorNamesATaskThatNobodyTakes(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	s := newShop(t, url, map[string]work.Handler{"ours": nothing})
	s.enqueue("report:build", newID(1).String(), nil)
	s.start()
	servertest.Eventually(t, "the worker has registered", func() bool { servers, _ := s.inspector.Servers(); return len(servers) == 1 })
	// mark writes the note that a worker writes when it has left the task alone
	// for half a minute.
	mark := func(head string) {
		if err := s.redis.HSet(t.Context(), "asynq:{outboxd}:left", "default", "1700000000 "+head).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for head, want := range map[string]string{newID(1).String(): "type-unhandled", newID(2).String(): ""} {
		mark(head)
		found, err := inspect.NewInspector(jobstest.OpenRedis(t, url), false, time.Now).Examine(t.Context())
		code := ""
		if len(found) > 0 {
			code = found[0].Code
		}
		if err != nil || len(found) > 1 || code != want || want != "" && !strings.Contains(found[0].Found, `"report:build" (queue default)`) {
			t.Errorf("with %s at the head: %v, %v", head, found, err)
		}
	}
}
