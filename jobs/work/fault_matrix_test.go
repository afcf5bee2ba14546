package work_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/work"
)

// workerCommand is a command that a worker sends. Asynq's server sends some of them,
// and the script that takes tasks sends others.
type workerCommand struct {
	faulttest.Command
	every   time.Duration // about how often it is sent where no task makes the worker send it
	listens bool          // sent over a connection that listens
}

var workerCommands = []workerCommand{
	{Command: faulttest.Command{Name: "HELLO", Greeting: true}},
	{Command: faulttest.Command{Name: "AUTH", Greeting: true, Password: true, Usual: map[string]string{"HELLO": "-ERR unknown command 'HELLO'\r\n", "AUTH": "+OK\r\n"}}},
	{Command: faulttest.Command{Name: "SELECT", Greeting: true}},
	{Command: faulttest.Command{Name: "CLIENT", Greeting: true}},
	{Command: faulttest.Command{Name: "EVALSHA"}},
	{Command: faulttest.Command{Name: "EVAL", Usual: map[string]string{"EVALSHA": "-NOSCRIPT No matching script. Please use EVAL.\r\n"}}},
	{Command: faulttest.Command{Name: "SUBSCRIBE", Greeting: true}, listens: true},
	{Command: faulttest.Command{Name: "PING"}, every: 3 * time.Second, listens: true},
	{Command: faulttest.Command{Name: "ZADD"}, every: 5 * time.Second},
}

// The commands that a worker sends are answered wrongly in many ways, once or until
// that is mended. Each task takes effect exactly once, in its first attempt. None
// stays behind without a lease, and the worker lives.
func TestTheWorkerOutlivesEveryAnswer(t *testing.T) {
	t.Parallel()
	for i, command := range workerCommands {
		t.Run(command.Name, func(t *testing.T) {
			t.Parallel()
			m := newWorkerMatrix(t, command)
			for _, fault := range faulttest.Faults(i) {
				// If a listening connection gets an array, go-redis panics in a goroutine of its own.
				if !command.listens || !strings.HasPrefix(fault.Name, "an array") {
					m.try(fault)
				}
			}
			m.leftNothing()
		})
	}
}

type workerMatrix struct {
	*shop
	faults *faulttest.Matrix
	every  time.Duration // the command's
	tasks  int

	mu      sync.Mutex
	effects map[domain.ID]int
	charged int
	gate    chan struct{} // closed: tasks may end
}

func newWorkerMatrix(t *testing.T, command workerCommand) *workerMatrix {
	m := &workerMatrix{faults: faulttest.NewMatrix(t, command.Command), every: command.every, effects: map[domain.ID]int{}, gate: make(chan struct{})}
	m.shop = newShop(t, m.faults.Direct, map[string]work.Handler{"test:a": m.handle})
	m.options.Redis, m.options.Concurrency = jobstest.OpenRedis(t, m.faults.Proxied), perWorkerFault+1
	m.start()
	return m
}

// perWorkerFault is how many tasks come while a fault lasts. One more task is already
// running when the fault begins.
const perWorkerFault = 3

func (m *workerMatrix) handle(ctx context.Context, _ domain.Effects, task work.Task) error {
	m.mu.Lock()
	m.effects[task.EventID]++
	if retried, _ := asynq.GetRetryCount(ctx); retried > 0 {
		m.charged++
	}
	gate := m.gate
	m.mu.Unlock()
	if string(task.Payload) == "waits" {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	return nil
}

func (m *workerMatrix) begin(payload string) {
	m.tasks++
	id := domain.ID{0x01, 0x90, 6: 0x70, 8: 0x80, 14: byte(m.tasks >> 8), 15: byte(m.tasks)}
	// The tasks have no retry left, so an attempt that is charged makes a
	// dead letter.
	m.enqueue("test:a", id.String(), []byte(payload), asynq.MaxRetry(0))
}

func (m *workerMatrix) done() (tasks int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.effects)
}

func (m *workerMatrix) try(fault faulttest.NamedFault) {
	m.t.Helper()
	what := m.faults.What(fault)
	m.mu.Lock()
	m.gate = make(chan struct{})
	m.mu.Unlock()
	m.begin("waits")
	if !servertest.Within(30*time.Second, func() bool { return m.done() == m.tasks }) {
		m.t.Fatalf("before %s: the worker takes no task", what)
	}
	m.faults.Play(fault)
	close(m.gate)
	for range perWorkerFault {
		m.begin("")
	}
	hits := 3
	if fault.Once || m.every > 0 {
		hits = 1
	}
	if !servertest.Within(10*time.Second+2*m.every, func() bool { return m.faults.Hits() >= hits }) && m.faults.Hits() == 0 {
		m.t.Errorf("%s: the command was not sent", what)
	}
	m.faults.Mend()
	if !servertest.Within(60*time.Second, func() bool { return m.done() == m.tasks }) {
		m.t.Fatalf("%s: mended, and %d of %d tasks were begun: %s", what, m.done(), m.tasks, m.whereabouts())
	}
	if n := m.charged; n != 0 {
		m.t.Errorf("%s: %d tasks were charged", what, n)
		m.charged = 0
	}
	if n := m.redis.ZCard(m.t.Context(), "asynq:{default}:archived").Val(); n != 0 {
		m.t.Fatalf("%s: %d tasks were archived", what, n)
	}
}

// leftNothing checks that each effect is there once, and that no task is unfinished
// or archived.
func (m *workerMatrix) leftNothing() {
	m.t.Helper()
	empty := func() bool { return m.whereabouts() == "" }
	if !servertest.Within(60*time.Second, empty) {
		m.t.Errorf("tasks are left: %s", m.whereabouts())
	}
	if n := m.redis.ZCard(m.t.Context(), "asynq:{default}:archived").Val(); n != 0 {
		m.t.Errorf("%d tasks were archived", n)
	}
	var confirmed int
	if err := m.db.SQL().QueryRowContext(m.t.Context(), "SELECT count(*) FROM inbox").Scan(&confirmed); err != nil {
		m.t.Fatal(err)
	}
	if confirmed != m.tasks {
		m.t.Errorf("%d of %d tasks took effect", confirmed, m.tasks)
	}
	for id, times := range m.effects {
		if times != 1 {
			m.t.Errorf("task %s was carried out %d times", id, times)
		}
	}
}

// whereabouts says where tasks of the queue default are pending, active, scheduled,
// leased or waiting for a retry; "" if there are none. It does not look at completed
// and archived tasks, nor at other queues.
func (m *workerMatrix) whereabouts() string {
	ctx, found := m.t.Context(), ""
	const prefix = "asynq:{default}:"
	for _, list := range []string{"pending", "active"} {
		if ids := m.redis.LRange(ctx, prefix+list, 0, -1).Val(); len(ids) > 0 {
			found += fmt.Sprintf("%s %v ", list, ids)
		}
	}
	for _, set := range []string{"scheduled", "retry", "lease"} {
		if ids := m.redis.ZRangeWithScores(ctx, prefix+set, 0, -1).Val(); len(ids) > 0 {
			found += fmt.Sprintf("%s %v ", set, ids)
		}
	}
	return found
}
