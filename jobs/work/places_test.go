package work_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/servertest/redistest"
	"outboxd/client/pipeline"
	"outboxd/jobs/jobstest"
)

// An asker asks a pipeline.Client for tasks as Asynq's server does, from one goroutine.
type asker struct {
	*bed
	*pipeline.Client
	pipelines *pipelines
	die       func()
}

func newAsker(b *bed, change func(*pipeline.Options)) *asker {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	direct, count := pipeline.Direct(b.redis), &pipelines{}
	direct.AddHook(count)
	o := pipeline.Options{Redis: b.redis, Direct: direct, Every: time.Millisecond, Concurrency: b.config.Concurrency, Queues: b.config.Queues}
	if change != nil {
		change(&o)
	}
	a := &asker{bed: b, Client: pipeline.New(ctx, o), pipelines: count, die: func() { _ = o.Direct.Close() }}
	b.Cleanup(func() { cancel(); a.Release(); _ = direct.Close() })
	return a
}

// ask asks for a task of a queue as Asynq's script does.
func (a *asker) ask(queue string) (message string, err error) {
	prefix := "asynq:{" + queue + "}:"
	answer := a.EvalSha(a.Context(), "", []string{prefix + "pending", prefix + "paused", prefix + "active", prefix + "lease"}, time.Now().Unix(), prefix+"t:")
	if answer.Err() != nil {
		return "", answer.Err()
	}
	return answer.Val().(string), nil
}

func (a *asker) mustAsk(queue string) {
	a.Helper()
	if _, err := a.ask(queue); err != nil {
		a.Fatalf("no task of %s: %v", queue, err)
	}
}

func (b *bed) list(key string) []string {
	return b.redis.LRange(b.Context(), "asynq:{default}:"+key, 0, -1).Val()
}

// whole reports whether exactly these tasks are pending, in this order, and no task
// is active or leased.
func (b *bed) whole(want []string) bool {
	got := b.list("pending")
	slices.Reverse(got)
	return slices.Equal(got, want) && len(b.list("active")) == 0 && b.redis.ZCard(b.Context(), "asynq:{default}:lease").Val() == 0
}

func (b *bed) fill(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(i))
		b.enqueue(ids[i])
	}
	return ids
}

// pipelines counts the pipelines that run scripts, and their commands.
type pipelines struct{ sent, commands atomic.Int64 }

func (*pipelines) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if commands[0].Name() == "evalsha" || commands[0].Name() == "eval" {
			p.sent.Add(1)
			p.commands.Add(int64(len(commands)))
		}
		return next(ctx, commands)
	}
}

// As many tasks are taken in one round trip as there are free places, and no more.
func TestTasksAreTakenForTheFreePlaces(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	b.fill(10)
	a := newAsker(b, nil)
	a.mustAsk("default") // the script is known now
	sent := a.pipelines.sent.Load()
	for n := range 3 {
		if active := len(b.list("active")); active != 4 {
			t.Errorf("%d tasks are active after %d were handed out, with 4 places", active, n+1)
		}
		a.mustAsk("default")
	}
	if n := a.pipelines.sent.Load() - sent; n != 0 {
		t.Errorf("%d more round trips for 3 tasks", n)
	}
	// Asynq asks for a task when one place is free.
	a.end(b.list("active")[3])
	a.mustAsk("default")
	if active := len(b.list("active")); active != 4 {
		t.Errorf("%d tasks are active, with 4 places", active)
	}
}

// The method end ends a task's run as Asynq does.
func (a *asker) end(id string) *redis.Cmd {
	prefix := "asynq:{default}:"
	keys := []string{prefix + "active", prefix + "lease", prefix + "t:" + id}
	return a.Eval(a.Context(), `
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then return redis.error_reply("NOT FOUND") end
redis.call("ZREM", KEYS[2], ARGV[1])
redis.call("DEL", KEYS[3])
return redis.status_reply("OK")`, keys, id)
}

// Tasks that were taken and not asked for go back in their order: at once when the
// server stops, and soon if the server only stops taking tasks.
func TestWhatIsNotHandedOutGoesBack(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*asker){"stopped": func(a *asker) { a.Release() }, "silent": func(*asker) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, nil)
			ids := b.fill(10)
			a := newAsker(b, nil)
			a.mustAsk("default")
			stop(a)
			back := func() bool { return len(b.list("active")) == 1 }
			if name == "stopped" && !back() {
				t.Errorf("after the stop %v are active", b.list("active"))
			}
			b.eventually("they are back", back)
			a.end("0")
			if !b.whole(ids[1:]) {
				t.Errorf("pending are %v", b.list("pending"))
			}
			if state := b.info("default", "1").State; state != asynq.TaskStatePending {
				t.Errorf("a task that went back is %v", state)
			}
			if _, err := a.ask("default"); name == "stopped" && err != redis.Nil { //nolint:errorlint // go-redis returns it as it is
				t.Errorf("a stopped one took a task: %v", err)
			}
		})
	}
}

// answerless loses the first answer to the script that gives tasks back, after it has called the function meanwhile.
// It closes repeated when the script is sent again and has its answer.
type answerless struct {
	pipelines
	meanwhile func()
	sent      int
	repeated  chan struct{}
}

func (l *answerless) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		if script := fmt.Sprint(commands[0].Args()[1:2]...); !strings.Contains(script, `return redis.error_reply("NOT FOUND")`) {
			return err
		}
		if l.sent++; l.sent > 1 {
			close(l.repeated)
			return err
		}
		l.meanwhile()
		for _, command := range commands {
			command.SetErr(io.EOF)
		}
		return io.EOF
	}
}

// A task goes back, the answer to that is lost, and a plain Asynq worker takes the task. The repeat leaves it there.
func TestATaskThatWentBackIsNotTakenFromAnother(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	b.fill(2)
	release := make(chan struct{})
	lost := &answerless{repeated: make(chan struct{}), meanwhile: func() {
		running := make(chan struct{})
		t.Cleanup(plainly(b, asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			close(running)
			<-release
			return nil
		})))
		<-running
	}}
	a := newAsker(b, func(o *pipeline.Options) { o.Direct.AddHook(lost) })
	defer close(release)
	a.mustAsk("default")
	a.Release()
	<-lost.repeated
	if pending, active := b.list("pending"), b.list("active"); len(pending) != 0 || !slices.Equal(active, []string{"1", "0"}) {
		t.Errorf("pending are %v, active %v", pending, active)
	}
}

// A process that dies between taking and handing out leaves its tasks to Asynq's
// recovery of leases: they run once each.
func TestADeadProcessLeavesWhatItTook(t *testing.T) {
	t.Parallel()
	b := newBed(t, plainly)
	ids := b.fill(6)
	a := newAsker(b, nil)
	a.mustAsk("default")
	a.die()
	if n := len(b.list("active")); n != 4 {
		t.Fatalf("%d are active", n)
	}
	for _, id := range b.list("active") { // let the leases end
		b.redis.ZAdd(t.Context(), "asynq:{default}:lease", redis.Z{Score: float64(time.Now().Add(-time.Minute).Unix()), Member: id})
	}
	b.run(succeed)
	b.eventually("all have run", func() bool { return len(b.ran()) == len(ids) })
	ran := b.ran()
	if slices.Sort(ran); !slices.Equal(ran, ids) {
		t.Errorf("%v ran", ran)
	}
}

// If the answer to a request for tasks is lost, the request may have taken tasks.
// The next request gets these tasks and no others, even if the lost one took all
// tasks of the queue.
func TestALostAnswerLosesNoTask(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faulttest.Fault{
		"a cut after it is carried out":        {Cut: true, Late: true, Once: true},
		"no answer to what is carried out":     {Swallow: true, Late: true, Once: true},
		"another's answer":                     {Reply: "*4\r\n$1\r\nx\r\n$0\r\n\r\n$0\r\n\r\n:0\r\n", Late: false, Once: true},
		"a task that was not taken (no reply)": {Reply: "$-1\r\n", Once: true},
	} {
		for _, filled := range []int{3, 10} {
			t.Run(fmt.Sprintf("%s, of %d", name, filled), func(t *testing.T) {
				t.Parallel()
				loseAnswer(t, fault, filled)
			})
		}
	}
}

// A task of a lost answer may have lost its message meanwhile. The others of the answer are found all the same.
func TestALostAnswerWithATaskWithoutAMessage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBedOn(t, server.URL(), nil)
	b.fill(3)
	proxy := faulttest.NewFaultProxy(t, server.URL())
	direct := jobstest.OpenRedis(t, proxy.URL()).NewDirectClient(3)
	t.Cleanup(func() { _ = direct.Close() })
	a := newAsker(b, func(o *pipeline.Options) { o.Direct = direct })
	proxy.Break("EVAL", faulttest.Fault{Cut: true, Late: true, Once: true})
	if _, err := a.ask("default"); err == nil {
		t.Fatal("the fault was not met")
	}
	b.redis.HSet(t.Context(), "asynq:{default}:t:0", "msg", "")
	for range 2 {
		b.eventually("it takes the other tasks", func() bool { _, err := a.ask("default"); return err == nil })
	}
}

func loseAnswer(t *testing.T, fault faulttest.Fault, filled int) {
	t.Helper()
	server := redistest.Start(t)
	b := newBedOn(t, server.URL(), nil)
	ids := b.fill(filled)
	proxy := faulttest.NewFaultProxy(t, server.URL())
	direct := jobstest.OpenRedis(t, proxy.URL()).NewDirectClient(3)
	t.Cleanup(func() { _ = direct.Close() })
	a := newAsker(b, func(o *pipeline.Options) { o.Direct = direct })
	a.mustAsk("default")
	b.eventually("the others are back", func() bool { return len(b.list("active")) == 1 }) // so that the client must ask Redis again
	proxy.Break("EVALSHA", fault)
	if _, err := a.ask("default"); err == nil {
		t.Fatal("the fault was not met")
	}
	proxy.Mend()
	b.eventually("it takes tasks again", func() bool { _, err := a.ask("default"); return err == nil })
	if n := len(b.list("active")); n > 4 {
		t.Errorf("%d are active, with 4 places", n)
	}
	a.Release()
	a.end("0")
	a.end("1")
	if !b.whole(ids[2:]) {
		t.Errorf("pending are %v, active %v", b.list("pending"), b.list("active"))
	}
}

// Endings that come together go in few round trips, and each has its own answer.
func TestEndingsGoTogether(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	b.config.Concurrency = 200
	b.fill(200)
	a := newAsker(b, nil)
	for range 200 {
		a.mustAsk("default")
	}
	sent := a.pipelines.sent.Load()
	answers := make([]error, 300)
	var ending sync.WaitGroup
	for n := range answers {
		ending.Go(func() { answers[n] = a.end(fmt.Sprint(n)).Err() })
	}
	ending.Wait()
	for n, err := range answers {
		if (err == nil) != (n < 200) {
			t.Errorf("task %d: %v", n, err)
		}
	}
	if n := a.pipelines.sent.Load() - sent; n > 150 {
		t.Errorf("300 endings took %d round trips", n)
	}
	if n := len(b.list("active")); n != 0 {
		t.Errorf("%d are active", n)
	}
}

// A request stops after many IDs without a task. The next one follows at once, and does not wait for the next poll.
func TestTasksBehindManyThatAreGone(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	for n := range 1000 {
		b.redis.LPush(t.Context(), "asynq:{default}:pending", fmt.Sprint("gone-", n))
	}
	b.fill(1)
	a := newAsker(b, func(o *pipeline.Options) { o.Every = time.Hour })
	begun := time.Now()
	b.eventually("a task behind them", func() bool { _, err := a.ask("default"); return err == nil })
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A task of a type that is not known stays at the head, and tasks behind it are taken.
func TestTypesThatAreNotKnownStay(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	if _, err := b.client.EnqueueContext(t.Context(), asynq.NewTask("other:x", nil), asynq.TaskID("other")); err != nil {
		t.Fatal(err)
	}
	b.fill(10)
	a := newAsker(b, func(o *pipeline.Options) { o.Types = []string{"test:a"} })
	for range 4 {
		b.eventually("a task behind the head", func() bool { _, err := a.ask("default"); return err == nil })
	}
	pending := b.list("pending")
	if len(pending) != 7 || pending[6] != "other" {
		t.Errorf("pending are %v", pending)
	}
	if fields := b.redis.HGetAll(t.Context(), "asynq:{default}:t:other").Val(); fields["state"] != "pending" || fields["pending_since"] == "" {
		t.Errorf("another's task is %v", fields)
	}
}
