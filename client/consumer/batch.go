package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/time/rate"

	"outboxd/client"
	"outboxd/client/gather"
	"outboxd/client/outage"
	"outboxd/client/spare"
	"outboxd/client/transact"
)

// Batch is the tuning of HandleBatch and HandleTogether. The zero value is fine.
type Batch struct {
	Max int // events at once; 0: 100
	// Wait is how long an event waits for other events although a transaction could begin. This wait is at most
	// a third of the task's timeout. As many batches as GOMAXPROCS may run at the same time, but at least two.
	// HandleTogether runs more if the database is far away. With Wait 0 an event waits only while no further
	// batch may begin. The events that wait form the next batch.
	Wait time.Duration
	// Logger logs why a batch failed, and that a batch does not end although its time is over, each at most once a
	// minute. nil: slog.Default().
	Logger *slog.Logger
}

// HandleBatch returns a handler for Asynq's mux, as Handle does, but the function handle gets several events of
// the same queue at once. One transaction confirms and commits the events of a batch.
//
// The payloads that the function handle gets are of different events, none of which took effect before. They are
// in the order of the events' IDs, apart from the next events of ordering keys (see below). In the handler
// EventsOf returns the events in the order of the payloads.
//
// An event with an ordering key may be followed by the next events of its key, in order. These next events come
// from the database, have no task, and are of the same type. Their Event.Attempts is that of the event with
// the task. If the batch fails, they run later. A Consumer of NewRemote gets no such events.
//
// The context of a batch of several tasks has no values of Asynq, of its middleware or of
// asynq.Config.BaseContext, because each task has its own.
//
// Asynq runs each task in a goroutine of its own. A batch consists of tasks that run at the same time. So
// asynq.Config.Concurrency also limits how many tasks a batch has: set it to a few times Max.
//
// A batch fails if the function handle returns an error or panics, if the transaction is not committed, or if
// the timeout of one of its tasks ends meanwhile. When a batch of several events has failed, it is rolled back,
// and each of its tasks runs alone: the function handle gets one payload. So one bad event costs no other event
// an attempt, unless the function used up the time of the batch. A task also runs alone if an earlier attempt
// failed, if it is not its event's turn, or if its batch has not begun when half of the task's timeout is over.
func HandleBatch[T, Tx any](c *Consumer[Tx], handle func(ctx context.Context, tx Tx, payloads []T) error, batch Batch) asynq.Handler {
	return newBatching(c, handle, batch)
}

func newBatching[T, Tx any](c *Consumer[Tx], handle func(ctx context.Context, tx Tx, payloads []T) error, batch Batch) *batching[T, Tx] {
	refuseNil(handle == nil)
	if batch.Max <= 0 {
		batch.Max = 100
	}
	if batch.Logger == nil {
		batch.Logger = slog.Default()
	}
	return &batching[T, Tx]{
		c: c, handle: handle, batch: batch, gatherers: map[gathererOf]*gather.Gatherer[*member[T]]{},
		failures: rate.Sometimes{Interval: time.Minute}, overdue: rate.Sometimes{Interval: time.Minute},
	}
}

// batching is the handler that HandleBatch returns.
type batching[T, Tx any] struct {
	c      *Consumer[Tx]
	handle func(ctx context.Context, tx Tx, payloads []T) error
	batch  Batch
	each   bool // handle makes a round trip for each event, so more batches run if the database is far away

	mu        sync.Mutex
	gatherers map[gathererOf]*gather.Gatherer[*member[T]]

	failures, overdue rate.Sometimes
}

// gathererOf is the key of a Gatherer: only tasks with the same queue and server
// can be in one batch.
type gathererOf struct {
	queue  string
	server *server // nil: the server was not started by Run
}

// member is one task of a batch.
type member[T any] struct {
	ctx     context.Context //nolint:containedctx // each task has its own
	event   Event
	payload T
	answer  chan answer
	place   gather.Place
}

// answer is the result of a task in its batch.
type answer struct {
	err   error
	alone bool // no result: the task has to run alone
}

// ProcessTask implements asynq.Handler.
func (b *batching[T, Tx]) ProcessTask(ctx context.Context, task *asynq.Task) error {
	payload, err := decode[T](task)
	if err != nil {
		return err
	}
	if event, err := readEvent(ctx, task); err == nil && event.Attempt == 1 {
		if answer := b.gathered(ctx, event, payload); !answer.alone {
			if errors.Is(answer.err, ErrUnacknowledged) {
				return unlessLast(ctx, event, answer.err)
			}
			return answer.err
		}
	}
	return b.c.process(ctx, task, func(ctx context.Context, tx Tx) error { return b.handle(ctx, tx, []T{payload}) })
}

// gathered runs a task in a batch. The batch ends a little before the task's own
// timeout, and the time left is for running the task alone. So a database that
// hangs costs no attempt, but a handler that uses up the time costs one.
func (b *batching[T, Tx]) gathered(ctx context.Context, event Event, payload T) answer {
	ctx, cancel := spare.Before(ctx)
	defer cancel()
	mine := &member[T]{ctx: ctx, event: event, payload: payload, answer: make(chan answer, 1)}
	b.gatherer(ctx, event.Queue).Add(ctx, mine)
	if answer, answered := gather.Await(ctx, &mine.place, mine.answer); answered {
		return answer
	}
	return answer{alone: true}
}

func (b *batching[T, Tx]) gatherer(ctx context.Context, queue string) *gather.Gatherer[*member[T]] {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := gathererOf{queue: queue}
	of.server, _ = ctx.Value(serverKey{}).(*server)
	g := b.gatherers[of]
	if g == nil {
		o := gather.Options{Max: b.batch.Max, AtOnce: max(runtime.GOMAXPROCS(0), 2), Wait: b.batch.Wait}
		if b.each {
			o.Distance, o.Most = &b.c.distance, mostConns(b.c.db)
		}
		if of.server != nil {
			o.Places = of.server.places
		}
		run := gather.NewRunLimit(b.batch.Max)
		g = gather.New(o, func(members []*member[T], leave func()) { b.carryOut(run, members, leave) })
		b.gatherers[of] = g
		if of.server != nil {
			context.AfterFunc(of.server.running, func() { g.Hurry(); b.forget(of) })
		}
	}
	return g
}

// forget is called when a server stops, because a service may call Run again and again with the same handler. A task
// that still comes gets a Gatherer of its own.
func (b *batching[T, Tx]) forget(of gathererOf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.gatherers, of)
}

// mostConns returns how many connections batches may use: half of the pool, because the
// service has other work too.
func mostConns[Tx any](db Database[Tx]) int {
	if pool, known := db.(transact.Pool); known && pool.MaxConns() > 0 {
		return pool.MaxConns() / 2
	}
	return math.MaxInt
}

// carryOut runs one batch and gives each of its tasks an answer. See gather.New for the function leave.
func (b *batching[T, Tx]) carryOut(run *gather.RunLimit, members []*member[T], leave func()) {
	together, repeats := distinct(members)
	var answers map[client.ID]answer
	// Answer even if the handler ends this goroutine, as FailNow of a test does: then each task runs alone.
	defer func() { answerAll(together, repeats, answers) }()
	if len(together) > 0 {
		answers = b.together(run, together, leave)
	}
}

// answerAll gives each task of a batch its answer. A task whose event has none runs alone, and so
// does a repeat whose event failed.
func answerAll[T any](together, repeats []*member[T], answers map[client.ID]answer) {
	for _, m := range together {
		is, answered := answers[m.event.ID]
		m.answer <- answer{err: is.err, alone: !answered}
	}
	for _, m := range repeats {
		is, answered := answers[m.event.ID]
		m.answer <- answer{alone: !answered || is.err != nil}
	}
}

// together runs the transaction of a batch, and returns the answers. If the transaction failed,
// there are none, and each task runs alone.
//
// A batch of one task, without followers, is an exception: if it failed after its handler was
// called, the error is the task's answer, and the task is not run once more. But the task runs
// alone if the commit found that the event may not take effect yet (ErrTooEarly), or if the
// transaction can be repeated at once.
func (b *batching[T, Tx]) together(run *gather.RunLimit, members []*member[T], leave func()) map[client.ID]answer {
	ctx, cancel := contextOf(members)
	defer cancel()
	defer gather.Overdue(ctx, func() {
		leave()
		b.overdue.Do(func() {
			b.batch.Logger.Warn("a batch does not end although its time is over: its handler ignores its context", "task_type", members[0].event.Type, "size", len(members))
		})
	})()
	t := &transaction[T, Tx]{batching: b, most: min(run.Most(), b.batch.Max-len(members))}
	err := recovered(func() error { return t.run(ctx, members) })
	run.Learn(err == nil, t.followers)
	switch {
	case err == nil:
		return t.answers
	case len(members)+t.followers > 1:
		b.complain(members, len(members)+t.followers, err)
	case t.began && !isUntried(err) && !errors.Is(err, ErrTooEarly) && !outage.IsFleeting(err):
		return map[client.ID]answer{members[0].event.ID: {err: err}}
	}
	return nil
}

// contextOf returns the context of a batch. The context of a batch of one task has Asynq's values.
func contextOf[T any](members []*member[T]) (context.Context, context.CancelFunc) {
	if len(members) == 1 {
		return context.WithCancel(members[0].ctx)
	}
	contexts := make([]context.Context, len(members))
	for i, m := range members {
		contexts[i] = m.ctx
	}
	return gather.Context(contexts...)
}

// complain logs why a batch failed, because otherwise nobody would know: its tasks
// may all succeed when they run one by one. complain leaves out errors that each
// task reports itself, such as an outage.
func (b *batching[T, Tx]) complain(members []*member[T], size int, err error) {
	if isUntried(err) || errors.Is(err, ErrTooEarly) || errors.Is(err, context.Canceled) || outage.Is(err) {
		return
	}
	b.failures.Do(func() {
		b.batch.Logger.Warn("a batch failed, and each of its tasks is tried alone", "task_type", members[0].event.Type, "size", size, "error", err)
	})
}

func recovered(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return work()
}

// distinct returns one task for each event, and the other tasks of the same events
// as repeats. distinct leaves out tasks that do not wait for the batch any more,
// and tasks whose time is over.
func distinct[T any](members []*member[T]) (together, repeats []*member[T]) {
	seen := make(map[client.ID]bool, len(members))
	for _, m := range members {
		switch {
		case !m.place.Take(): // the task does not wait for the batch any more
		case m.ctx.Err() != nil:
			m.answer <- answer{alone: true}
		case seen[m.event.ID]:
			repeats = append(repeats, m)
		default:
			seen[m.event.ID] = true
			together = append(together, m)
		}
	}
	slices.SortFunc(together, func(x, y *member[T]) int { return bytes.Compare(x.event.ID[:], y.event.ID[:]) })
	return together, repeats
}
