package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

// tenant is one of the databases whose outboxd use the same Redis.
type tenant struct {
	t         *testing.T
	db        *postgres.Database
	inspector *inspect.Inspector
}

func newTenant(t *testing.T, handle *broker.Redis) *tenant {
	t.Helper()
	db := schematest.Open(t)
	inspector := inspect.NewInspector(handle, false, time.Now)
	inspector.OnlyOurs(search.NewKnownEvents(db, 24*time.Hour).Among)
	return &tenant{t, db, inspector}
}

func (n *tenant) emit(taskType, queue string) (taskID string) {
	n.t.Helper()
	err := n.db.SQL().QueryRowContext(n.t.Context(), "INSERT INTO outbox (event_type, payload, queue) VALUES ($1, '', $2) RETURNING id", taskType, queue).Scan(&taskID)
	if err != nil {
		n.t.Fatal(err)
	}
	return taskID
}

// found returns what the examination says, a finding a line.
func (n *tenant) found() string {
	n.t.Helper()
	findings, err := n.inspector.Examine(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	var lines []string
	for _, f := range findings {
		lines = append(lines, fmt.Sprintf("%s: %s; %s", f.Code, f.Found, f.Remedy))
	}
	return strings.Join(lines, "\n")
}

func contains(t *testing.T, who, text string, wanted, unwanted []string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%s: without %q:\n%s", who, want, text)
		}
	}
	for _, not := range unwanted {
		if strings.Contains(text, not) {
			t.Errorf("%s: with %q:\n%s", who, not, text)
		}
	}
}

// Two outboxds with databases of their own share a Redis with an application
// that uses Asynq without outboxd. Each is shown its own queues and tasks only.
func TestFindingsAboutTheTasksOfOthersAreTheirs(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	client, handle := connect(t, url), open(t, url)
	tasks := asynq.NewClientFromRedisClient(client)
	enqueue := func(taskType, queue, id string, options ...asynq.Option) {
		t.Helper()
		options = append(options, asynq.Queue(queue), asynq.ProcessIn(time.Hour))
		if id != "" {
			options = append(options, asynq.TaskID(id))
		}
		if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask(taskType, nil), options...); err != nil {
			t.Fatal(err)
		}
	}
	a, b := newTenant(t, handle), newTenant(t, handle)
	enqueue("a:bill", "a-queue", a.emit("a:bill", "a-queue"))
	enqueue("b:ship", "b-queue", b.emit("b:ship", "b-queue"))
	// In the shared queue the first application has 60 tasks, and after them the second one has a single task.
	for range 60 {
		enqueue("a:mixed", "shared", a.emit("a:mixed", "shared"))
	}
	enqueue("b:mixed", "shared", b.emit("b:mixed", "shared"))
	enqueue("theirs:resize", "images", "")
	enqueue("theirs:crop", "images", "crop-1")
	inspector := asynq.NewInspectorFromRedisClient(client)
	for _, queue := range []string{"a-queue", "images"} {
		if err := inspector.PauseQueue(queue); err != nil {
			t.Fatal(err)
		}
	}

	all := []string{"a-queue", "b-queue", "shared", "a:bill", "b:ship", "a:mixed", "b:mixed", "images", "theirs:"}
	of := map[string][]string{
		"a": {"a-queue", "shared", "a:bill", "a:mixed"}, "b": {"b-queue", "shared", "b:ship", "b:mixed"},
	}
	not := func(wanted []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(wanted, s) })
	}
	contains(t, "the first database", a.found(), append(of["a"], "queue-unserved", "a-queue is paused;"), not(of["a"]))
	contains(t, "the second database", b.found(), append(of["b"], "queue-unserved"), append(not(of["b"]), "queue-paused"))

	// A database that does not answer hides nothing. One that keeps no history hides no task that may be an event.
	silent := &tenant{t, nil, inspect.NewInspector(handle, false, time.Now)}
	silent.inspector.OnlyOurs(func(context.Context, []domain.ID) ([]domain.ID, error) { return nil, errors.New("no answer") })
	contains(t, "a database that does not answer", silent.found(), []string{"a-queue", "b-queue", "shared", "images"}, nil)
	forgetful := &tenant{t, nil, inspect.NewInspector(handle, false, time.Now)}
	forgetful.inspector.OnlyOurs(search.NewKnownEvents(a.db, 0).Among)
	contains(t, "a database without a history", forgetful.found(), []string{"a-queue", "b-queue", "shared"}, nil)
}

// Tasks of other programs that had no handler are not reported either.
func TestAnothersUnhandledTaskIsTheirs(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	client, handle := connect(t, url), open(t, url)
	tasks := asynq.NewClientFromRedisClient(client)
	a, b := newTenant(t, handle), newTenant(t, handle)
	// One task is at the head of a queue, where a worker of outboxd left it. For
	// the other two Asynq's own mux had no handler.
	head := a.emit("a:left", "left")
	for id, queue := range map[string]string{head: "left", b.emit("b:tried", "tried"): "tried", "ordinary": "tried"} {
		kind := map[string]string{"left": "a:left", "tried": "b:tried"}[queue]
		if id == "ordinary" {
			kind = "theirs:tried"
		}
		if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask(kind, nil), asynq.Queue(queue), asynq.TaskID(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := broker.MarkLeft(t.Context(), client, "left", head, time.Now()); err != nil {
		t.Fatal(err)
	}
	server := asynq.NewServerFromRedisClient(client, asynq.Config{Queues: map[string]int{"tried": 1}, LogLevel: asynq.FatalLevel})
	if err := server.Start(asynq.NewServeMux()); err != nil {
		t.Fatal(err)
	}
	inspector := asynq.NewInspectorFromRedisClient(client)
	servertest.Eventually(t, "both tasks were tried", func() bool {
		retries, _ := inspector.ListRetryTasks("tried")
		return len(retries) == 2
	})
	server.Shutdown()
	contains(t, "the first database", a.found(), []string{`type-unhandled: a worker has no handler for tasks of type "a:left" (queue left);`}, []string{"b:tried", "theirs:"})
	contains(t, "the second database", b.found(), []string{`type-unhandled: a worker has no handler for tasks of type "b:tried" (queue tried);`}, []string{"a:left", "theirs:tried"})
}

func open(t *testing.T, url string) *broker.Redis {
	t.Helper()
	handle, err := broker.Open(broker.Options{URL: url}, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handle.Close() })
	return handle
}

// The queue of a paused subscription is not reported for having no worker. The queue
// of a removed one is, but without the advice to start one.
func TestQueuesOfSubscriptionsThatRest(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	tasks := asynq.NewClientFromRedisClient(connect(t, url))
	for _, name := range []string{"paused", "removed", "served"} {
		if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask("a", nil), asynq.Queue(setup.SubscriptionQueuePrefix+name), asynq.ProcessIn(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	inspector := inspect.NewInspector(open(t, url), false, time.Now)
	inspector.Receivers(func(context.Context) ([]overview.ReceiverStatus, error) {
		return []overview.ReceiverStatus{{Subscription: "paused", Paused: true}, {Subscription: "removed", Removed: true}}, nil
	})
	one := &tenant{t, nil, inspector}
	contains(t, "an examination", one.found(),
		[]string{"subscription:removed (1 task)", "outboxd events cancel --queue=subscription:removed", "subscription:served (1 task)", "which delivers to all subscriptions"},
		[]string{"subscription:paused", "--worker-queues"})
}

// A database that never answers is asked which subscriptions rest. The findings about Redis come all the same.
func TestASilentDatabaseIsNoOutageOfRedis(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	tasks := asynq.NewClientFromRedisClient(connect(t, url))
	if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask("a", nil), asynq.Queue("reports"), asynq.ProcessIn(time.Hour)); err != nil {
		t.Fatal(err)
	}
	inspector := inspect.NewInspector(open(t, url), false, time.Now)
	inspector.Receivers(func(ctx context.Context) ([]overview.ReceiverStatus, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	contains(t, "an examination", (&tenant{t, nil, inspector}).found(), []string{"no worker serves reports (1 task)"}, nil)
}
