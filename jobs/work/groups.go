package work

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"go.opentelemetry.io/otel/trace"

	"outboxd/client/gather"
	"outboxd/domain"
)

// groups combines tasks that Asynq runs at the same time, each in its own goroutine, into common transactions. It
// combines the tasks of batch handlers. For tasks with effects outside the database it combines the questions to
// the inbox and the confirmations. If the transaction of a group fails, its tasks are tried one by one.
type groups struct {
	w                        *Worker
	questions, confirmations *gather.Gatherer[*member]
	distance                 gather.Distance // of PostgreSQL

	mu      sync.Mutex
	hurried bool
	batches map[batchOf]*gather.Gatherer[*member]

	said sync.Map // by subject, a *rate.Sometimes for the log
}

// batchOf has the two values that all tasks of a batch have in common.
type batchOf struct{ queue, taskType string }

// member is one task of a group.
type member struct {
	ctx    context.Context //nolint:containedctx // each task has its own
	task   Task
	record Record // nil: none
	answer chan answer
	place  gather.Place
}

func newMember(ctx context.Context, task Task, record Record) *member {
	return &member{ctx: ctx, task: task, record: record, answer: make(chan answer, 1)}
}

// join adds the member to a group, and waits for the member's answer. If the group does not begin in time, the member
// leaves the group, and the answer is alone.
func (m *member) join(group *gather.Gatherer[*member]) answer {
	group.Add(m.ctx, m)
	if answer, answered := gather.Await(m.ctx, &m.place, m.answer); answered {
		return answer
	}
	return answer{alone: true}
}

// answer is the result for one member of a group.
type answer struct {
	first bool
	err   error
	alone bool // no result: the task must be tried alone
}

// groupMax limits how many questions or confirmations go together.
const groupMax = 100

// newGroups returns the groups of a worker. After the context running has ended, groups no longer wait for further
// members.
func newGroups(running context.Context, w *Worker) *groups {
	g := &groups{w: w, batches: map[batchOf]*gather.Gatherer[*member]{}}
	o := gather.Options{Max: groupMax, AtOnce: g.atOnce()}
	g.questions = gather.New(o, g.ask)
	g.confirmations = gather.New(o, g.confirm)
	context.AfterFunc(running, g.hurry)
	return g
}

// atOnce is how many groups of one kind run at the same time: one for each CPU core but not more than
// Concurrency, and at least two. With more, each group would be smaller. If PostgreSQL is far away,
// Together runs more.
func (g *groups) atOnce() int { return max(min(runtime.GOMAXPROCS(0), g.w.o.Concurrency), 2) }

// gatherer returns the Gatherer that makes groups of the tasks of one type and queue.
func (g *groups) gatherer(queue, taskType string, batch Batch) *gather.Gatherer[*member] {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := batchOf{queue, taskType}
	gatherer := g.batches[name]
	if gatherer == nil {
		if batch.Max <= 0 {
			batch.Max = defaultMax
		}
		run := gather.NewRunLimit(batch.Max)
		o := gather.Options{Max: batch.Max, AtOnce: g.atOnce(), Wait: batch.Wait, Places: g.w.o.Concurrency}
		if batch.each {
			o.Distance, o.Most = &g.distance, cmp.Or(g.w.o.Connections, g.w.o.Concurrency)
		}
		gatherer = gather.New(o, func(members []*member, leave func()) { g.carryOut(name, batch, run, members, leave) })
		if g.hurried {
			gatherer.Hurry()
		}
		g.batches[name] = gatherer
	}
	return gatherer
}

func (g *groups) hurry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hurried = true
	for _, gatherer := range g.batches {
		gatherer.Hurry()
	}
}

// Ask asks the inbox whether the event may take effect. Ask combines the question with those of other tasks at this
// moment.
func (g *groups) Ask(ctx context.Context, task Task) (first bool, err error) {
	if answer := newMember(ctx, task, nil).join(g.questions); !answer.alone {
		return answer.first, answer.err
	}
	return g.w.o.Inbox.Ask(ctx, task.EventID)
}

func (g *groups) ask(members []*member, leave func()) {
	together, repeats, ctx, cancel := g.present(members, leave)
	defer cancel()
	if len(together) == 0 {
		return // nobody waits for an answer, and ctx would not end
	}
	var list []domain.Confirmation
	err := domain.Recovered("asking panicked", func() (err error) {
		list, err = g.w.o.Inbox.AskAll(ctx, taskIDs(together))
		return err
	})
	g.complain(members[0].task.Type, len(members), err)
	answerAll(together, nil, list, err)
	for _, m := range repeats { // a repeat asks alone, as the event may take effect meanwhile
		m.answer <- answer{alone: true}
	}
}

// Confirm confirms an event whose effect outside the database has happened. Confirm combines the confirmation with
// those of other tasks at this moment.
func (g *groups) Confirm(ctx context.Context, task Task, record Record) (first bool, err error) {
	if answer := newMember(ctx, task, record).join(g.confirmations); !answer.alone {
		return answer.first, answer.err
	}
	return g.confirmOne(ctx, task, record)
}

func (g *groups) confirmOne(ctx context.Context, task Task, record Record) (first bool, err error) {
	return g.w.o.Inbox.Process(ctx, task.EventID, func(ctx context.Context, tx domain.Effects) error {
		// Asynq recovers panics of its own goroutines only, and this is another.
		return domain.Recovered("the record panicked", func() error { return recorded(ctx, tx, record) })
	})
}

func recorded(ctx context.Context, tx domain.Effects, record Record) error {
	if record == nil {
		return nil
	}
	return record(ctx, tx)
}

func (g *groups) confirm(members []*member, leave func()) {
	err := g.commit(members, leave, func(ctx context.Context, tx domain.Effects, first []*member) error {
		for _, m := range first {
			if err := recorded(ctx, tx, m.record); err != nil {
				return err
			}
		}
		return nil
	}, func() bool { return false })
	g.complain(members[0].task.Type, len(members), err)
}

// complain logs why a batch of two or more tasks failed, at most once a minute for each task type.
// Without the log nobody would notice, because all tasks of the batch may succeed when they are
// tried one by one. complain does not log an outage, which has its own warning.
func (g *groups) complain(taskType string, size int, err error) {
	if err == nil || size < 2 || domain.ErrorCode(err) == domain.CodeUnavailable || errors.Is(err, domain.ErrTooEarly) || errors.Is(err, context.Canceled) {
		return
	}
	g.seldom(taskType, func() {
		g.w.log.Warn("a batch failed, and each of its tasks is tried alone", "task_type", taskType, "size", size, "error", err)
	})
}

// seldom calls the function say at most once a minute for each subject.
func (g *groups) seldom(subject string, say func()) {
	value, _ := g.said.LoadOrStore(subject, &rate.Sometimes{Interval: time.Minute})
	if seldom, ok := value.(*rate.Sometimes); ok {
		seldom.Do(say)
	}
}

// errEnded is the error of a group whose handler ended its goroutine by runtime.Goexit.
var errEnded = errors.New("the handler ended its goroutine")

// commit confirms members in one transaction, and calls the function effect for those that take effect now. If a
// group of one member fails, the function own reports whether the failure is that member's own.
func (g *groups) commit(members []*member, leave func(), effect func(ctx context.Context, tx domain.Effects, first []*member) error, own func() bool) (err error) {
	together, repeats, ctx, cancel := g.present(members, leave)
	defer cancel()
	if len(together) == 0 {
		return nil
	}
	byID := make(map[domain.ID]*member, len(together))
	for _, m := range together {
		byID[m.task.EventID] = m
	}
	var list []domain.Confirmation
	// Answer even if the handler ends this goroutine: then each task is tried alone.
	err = errEnded
	defer func() { answerAll(together, repeats, list, err) }()
	err = domain.Recovered("the handler panicked", func() (err error) {
		list, err = g.w.o.Inbox.ProcessAll(ctx, taskIDs(together), func(ctx context.Context, tx domain.Effects, ids []domain.ID) error {
			first := make([]*member, len(ids))
			for i, id := range ids {
				first[i] = byID[id]
			}
			return effect(ctx, tx, first)
		})
		return err
	})
	if err != nil && !errors.Is(err, domain.ErrTooEarly) && len(together) == 1 && own() {
		together[0].answer <- answer{first: true, err: err}
		together = nil
	}
	return err
}

// present returns one member for each event, and further members of the same event separately as repeats. present
// leaves out members that have left, and members whose timeout is reached. ctx ends when any member reaches its
// timeout or is cancelled. The task of that member must not take effect, and all tasks are then tried alone. If the
// group still runs some seconds after the end of ctx, present calls leave (see gather.New). Call cancel when the group
// has ended.
func (g *groups) present(members []*member, leave func()) (together, repeats []*member, ctx context.Context, cancel context.CancelFunc) {
	seen := make(map[domain.ID]bool, len(members))
	for _, m := range members {
		switch {
		case !m.place.Take(): // it has left
			continue
		case m.ctx.Err() != nil:
			m.answer <- answer{alone: true}
			continue
		case seen[m.task.EventID]:
			repeats = append(repeats, m)
			continue
		}
		seen[m.task.EventID] = true
		together = append(together, m)
	}
	contexts := make([]context.Context, len(together))
	for i, m := range together {
		contexts[i] = m.ctx
	}
	ctx, cancelContext := gather.Context(contexts...)
	ended := gather.Overdue(ctx, func() {
		leave()
		g.seldom("late "+members[0].task.Type, func() {
			g.w.log.Warn("a batch does not end although its time is over: its handler ignores its context", "task_type", members[0].task.Type, "size", len(together))
		})
	})
	cancel = func() { ended(); cancelContext() }
	if len(together) > 0 {
		// In a trace, a statement for several tasks belongs to the span of the first task.
		ctx = trace.ContextWithSpan(ctx, trace.SpanFromContext(together[0].ctx))
	}
	return together, repeats, ctx, cancel
}

func taskIDs(members []*member) []domain.ID {
	ids := make([]domain.ID, len(members))
	for i, m := range members {
		ids[i] = m.task.EventID
	}
	return ids
}

// answerAll sends every member its answer. If the group failed, no member is charged, and each is tried alone. A
// member whose event does not have its turn yet waits alone.
func answerAll(members, repeats []*member, list []domain.Confirmation, err error) {
	answers := make(map[domain.ID]answer, len(members))
	for i, m := range members {
		is := answer{alone: true}
		if err == nil && !errors.Is(list[i].Err, domain.ErrTooEarly) {
			is = answer{first: list[i].First, err: list[i].Err}
		}
		answers[m.task.EventID] = is
		m.answer <- is
	}
	for _, m := range repeats {
		is, answered := answers[m.task.EventID]
		m.answer <- answer{alone: !answered || is.alone || is.err != nil}
	}
}
