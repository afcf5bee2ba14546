package lookup

import (
	"context"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
)

// Finder looks for tasks in the places where workers find them, for many tasks in one
// round trip. It is safe for concurrent use.
type Finder struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
	lists     pendingLists
}

// New returns a Finder for a Redis.
func New(r *broker.Redis) *Finder {
	return &Finder{redis: r.Client(), inspector: r.Inspector()}
}

// Todo says what the script does with a task that it has found. With "" it only looks.
type Todo string

const (
	// ClearStranded removes the remains of a task that no worker can find.
	ClearStranded Todo = "clear"
	// ClearCompleted does what ClearStranded does, and also removes a completed task.
	ClearCompleted Todo = "redo"
)

const (
	absentSince     = "absent"
	lookKeys        = 3
	lookAtOnce      = 500 // tasks in one call of the script
	lookArgsPerTask = 3
)

// lookAnswer is the digit that lookScript returns for one task.
type lookAnswer byte

const (
	answeredMissing   lookAnswer = '0'
	answeredStranded  lookAnswer = '1'
	answeredThere     lookAnswer = '2'
	answeredCompleted lookAnswer = '3'
	answeredArchived  lookAnswer = '4'
	answeredUnsure    lookAnswer = '5' // pending; the list must be read
	answeredUnleased  lookAnswer = '6' // active, but without a lease or not in the active list; only a worker can still have it
)

// Inquiry is a question about one task, and later also its answer.
type Inquiry struct {
	Queue, TaskID string
	Todo          Todo
	absent        string // absentSince and since, if an earlier search did not find the task
	answer        lookAnswer
	since         string // with answeredUnsure: when the task began to wait, in Unix nanoseconds; "" if not known
}

// Presence returns where the task is, as the answer says. If the place of a task is not
// certain, the task counts as there.
func (q *Inquiry) Presence() queued.TaskPresence {
	switch q.answer {
	case answeredMissing:
		return queued.TaskMissing
	case answeredStranded:
		return queued.TaskStranded
	case answeredCompleted:
		return queued.TaskCompleted
	case answeredArchived:
		return queued.TaskArchived
	default:
		return queued.TaskUnfinished
	}
}

// Ask answers all questions. Ask takes one round trip, or more if Redis does not know
// the script yet, or if the script cannot decide about some tasks.
//
// Errors: domain.CodeUnavailable; domain.QueueOutages, which has that code, if this user
// may not use the keys of some queues, or if a key of some queues is of another kind.
func (f *Finder) Ask(ctx context.Context, asked []*Inquiry) error {
	if err := f.call(ctx, asked); err != nil {
		return err
	}
	var again []*Inquiry
	for _, q := range asked {
		var absent bool
		var err error
		switch q.answer {
		case answeredUnsure:
			absent, err = f.lists.lack(ctx, f.redis, q)
		case answeredUnleased:
			absent, err = f.isAbandoned(ctx, q)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if absent {
			q.absent = absentSince + q.since
			again = append(again, q)
		}
	}
	return f.call(ctx, again)
}

// call runs the script once for each lookAtOnce tasks of a queue, all in one round trip.
// If Redis does not know the script by its hash, everything is sent again with the
// script in full.
func (f *Finder) call(ctx context.Context, asked []*Inquiry) error {
	if len(asked) == 0 {
		return nil
	}
	const doing = "look for tasks"
	calls := splitByQueue(asked)
	for _, evaluate := range []evaluation{lookScript.EvalSha, lookScript.Eval} {
		commands := make([]*redis.Cmd, len(calls))
		_, err := f.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, call := range calls {
				keys, args := call.command()
				commands[i] = evaluate(ctx, pipe, keys, args...)
			}
			return nil
		})
		if slices.ContainsFunc(commands, func(c *redis.Cmd) bool { return redis.HasErrorPrefix(c.Err(), broker.NoScript) }) {
			continue
		}
		if err != nil && !isOfQueue(err) {
			return broker.Unavailable(doing, err)
		}
		var unusable domain.QueueOutages
		for i, call := range calls {
			switch err := call.read(commands[i]); {
			case isOfQueue(err):
				unusable = append(unusable, &domain.QueueOutage{Queue: call[0].Queue, Err: broker.Unavailable(doing, err)})
			case err != nil:
				return broker.Unavailable(doing, err)
			}
		}
		if len(unusable) > 0 {
			return unusable
		}
		return nil
	}
	return domain.Errorf(domain.CodeUnavailable, "Redis accepts scripts neither by their hash nor in full")
}

// isOfQueue reports whether an error is about one queue, and says nothing about the others.
func isOfQueue(err error) bool { return broker.IsForbiddenKey(err) || broker.IsRefusal(err) }

type evaluation func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// lookCall is one call of the script, with questions about tasks of one queue.
type lookCall []*Inquiry

// splitByQueue groups the questions by queue, and keeps the order of the questions of a
// queue.
func splitByQueue(asked []*Inquiry) []lookCall {
	var calls []lookCall
	open := map[string]int{}
	for _, q := range asked {
		i, found := open[q.Queue]
		if !found || len(calls[i]) == lookAtOnce {
			i = len(calls)
			open[q.Queue], calls = i, append(calls, nil)
		}
		calls[i] = append(calls[i], q)
	}
	return calls
}

func (c lookCall) command() (keys []string, args []any) {
	queue := c[0].Queue
	keys = make([]string, 0, lookKeys)
	keys = append(keys, broker.PendingKey(queue), broker.ActiveKey(queue), broker.LeaseKey(queue))
	args = make([]any, 0, 1+lookArgsPerTask*len(c))
	args = append(args, broker.QueuePrefix(queue))
	for _, q := range c {
		args = append(args, q.TaskID, string(q.Todo), q.absent)
	}
	return keys, args
}

// read reads the script's answers. Any other reply is an error.
func (c lookCall) read(command *redis.Cmd) error {
	answers, err := command.StringSlice()
	if err != nil {
		return err
	}
	if len(answers) != len(c) {
		return fmt.Errorf("%d answers about %d tasks", len(answers), len(c))
	}
	for i, answer := range answers {
		if answer == "" || answer[0] < '0' || answer[0] > '6' {
			return fmt.Errorf("%.20q is no answer about a task", answer)
		}
		c[i].answer, c[i].since = lookAnswer(answer[0]), answer[1:]
	}
	return nil
}

// isAbandoned returns true if no worker says that it runs the task. The lease is not
// enough: a worker that has lost the lease of a task may still run the task.
func (f *Finder) isAbandoned(ctx context.Context, q *Inquiry) (bool, error) {
	told, err := f.working(ctx)
	return err == nil && !told[q.TaskID], err
}

var _ queued.TaskFinder = (*Finder)(nil)

// Look implements queued.TaskFinder.
func (f *Finder) Look(ctx context.Context, events []domain.Event) ([]queued.TaskPresence, error) {
	asked := make([]*Inquiry, len(events))
	for i := range events {
		asked[i] = &Inquiry{Queue: events[i].Queue, TaskID: events[i].TaskID()}
	}
	if err := f.Ask(ctx, asked); err != nil {
		return nil, err
	}
	found := make([]queued.TaskPresence, len(asked))
	for i, q := range asked {
		found[i] = q.Presence()
	}
	return found, nil
}
