package jobs

import (
	"context"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// looker looks for tasks where workers would. It is safe for concurrent use.
type looker struct {
	redis redis.UniversalClient
	lists pendingLists
}

// What lookScript is told to do about a task.
const (
	onlyLook        = "look"
	clearStranded   = "clear"
	clearCompleted  = "redo"
	absentSince     = "absent"
	lookKeys        = 3
	lookAtOnce      = 500 // tasks in one call of the script
	lookArgsPerTask = 3
)

// lookAnswer is how lookScript answers about one task: these are its digits.
type lookAnswer byte

const (
	answeredMissing   lookAnswer = '0'
	answeredStranded  lookAnswer = '1'
	answeredThere     lookAnswer = '2'
	answeredCompleted lookAnswer = '3'
	answeredArchived  lookAnswer = '4'
	answeredUnsure    lookAnswer = '5' // pending; the list has to be read
	answeredUnleased  lookAnswer = '6' // active without a lease; only a worker can still have it
)

// inquiry is a question about one task, and its answer.
type inquiry struct {
	queue, taskID string
	todo          string
	absent        string // absentSince and since, once it was looked for in vain
	answer        lookAnswer
	since         string // with answeredUnsure: since when it waits, in Unix nanoseconds; "" if that is not known
}

// presence is what the answer means. In doubt the task is there.
func (q *inquiry) presence() domain.TaskPresence {
	switch q.answer {
	case answeredMissing:
		return domain.TaskMissing
	case answeredStranded:
		return domain.TaskStranded
	case answeredCompleted:
		return domain.TaskCompleted
	case answeredArchived:
		return domain.TaskArchived
	default:
		return domain.TaskUnfinished
	}
}

// look answers all questions: mostly in one round trip, in two or more where
// the script is unsure about some.
//
// Errors: domain.CodeUnavailable.
func (l *looker) look(ctx context.Context, asked []*inquiry) error {
	if err := l.ask(ctx, asked); err != nil {
		return err
	}
	var again []*inquiry
	for _, q := range asked {
		var absent bool
		var err error
		switch q.answer {
		case answeredUnsure:
			absent, err = l.lists.lack(ctx, l.redis, q)
		case answeredUnleased:
			absent, err = l.isAbandoned(q)
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
	return l.ask(ctx, again)
}

// ask calls the script for each queue.
func (l *looker) ask(ctx context.Context, asked []*inquiry) error {
	if len(asked) == 0 {
		return nil
	}
	const doing = "look for tasks"
	calls := splitByQueue(asked)
	for _, evaluate := range []evaluation{lookScript.EvalSha, lookScript.Eval} {
		commands := make([]*redis.Cmd, len(calls))
		_, err := l.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, call := range calls {
				keys, args := call.command()
				commands[i] = evaluate(ctx, pipe, keys, args...)
			}
			return nil
		})
		if redis.HasErrorPrefix(err, noScript) {
			continue
		}
		if err != nil {
			return domain.Wrap(domain.CodeUnavailable, err, doing)
		}
		for i, call := range calls {
			if err := call.read(commands[i]); err != nil {
				return domain.Wrap(domain.CodeUnavailable, err, doing)
			}
		}
		return nil
	}
	return domain.Errorf(domain.CodeUnavailable, "Redis wants its scripts neither by their hash nor in full")
}

type evaluation func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// lookCall is one call of the script: questions about tasks of one queue.
type lookCall []*inquiry

// splitByQueue keeps the questions of one queue in their order.
func splitByQueue(asked []*inquiry) []lookCall {
	var calls []lookCall
	open := map[string]int{}
	for _, q := range asked {
		i, found := open[q.queue]
		if !found || len(calls[i]) == lookAtOnce {
			i = len(calls)
			open[q.queue], calls = i, append(calls, nil)
		}
		calls[i] = append(calls[i], q)
	}
	return calls
}

func queuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

func (c lookCall) command() (keys []string, args []any) {
	prefix := queuePrefix(c[0].queue)
	keys = make([]string, 0, lookKeys)
	keys = append(keys, prefix+"pending", prefix+"active", prefix+"lease")
	args = make([]any, 0, 1+lookArgsPerTask*len(c))
	args = append(args, prefix)
	for _, q := range c {
		args = append(args, q.taskID, q.todo, q.absent)
	}
	return keys, args
}

// read takes the script's answers; anything else is none.
func (c lookCall) read(command *redis.Cmd) error {
	answers, err := command.StringSlice()
	if err != nil {
		return err
	}
	if len(answers) != len(c) {
		return fmt.Errorf("%d answers about %d tasks", len(answers), len(c))
	}
	for i, answer := range answers {
		if answer == "" || !strings.Contains("0123456", answer[:1]) {
			return fmt.Errorf("%.20q is no answer about a task", answer)
		}
		c[i].answer, c[i].since = lookAnswer(answer[0]), answer[1:]
	}
	return nil
}

// isAbandoned tells whether no worker says that it runs the task. One that has
// lost its lease runs on; Asynq's recovery looks only for leases.
func (l *looker) isAbandoned(q *inquiry) (bool, error) {
	servers, err := asynq.NewInspectorFromRedisClient(l.redis).Servers()
	if err != nil {
		return false, domain.Wrap(domain.CodeUnavailable, err, "look for running workers")
	}
	for _, server := range servers {
		for _, worker := range server.ActiveWorkers {
			if worker.TaskID == q.taskID && worker.Queue == q.queue {
				return false, nil
			}
		}
	}
	return true, nil
}
