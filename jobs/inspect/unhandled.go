package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// retriesRead is how many of the tasks that are due first a look reads in a
// queue. Their payloads come along, which may be a mebibyte each. A task that one
// of outboxd's workers could not handle is due again within a minute, so that
// others do not hide it for long.
const retriesRead = 50

// stuckTask is a task that a worker had no handler for.
type stuckTask struct{ queue, id, kind string }

// left looks for tasks that stand at the head of their queue since one of
// outboxd's workers found that nobody takes them.
func (i *Inspector) left(ctx context.Context, queues []string) (stuck []stuckTask, err error) {
	heads, err := broker.Left(ctx, i.redis)
	if err != nil {
		return nil, err
	}
	for _, queue := range queues {
		head, noted := heads[queue]
		if !noted {
			continue
		}
		now, err := i.redis.LRange(ctx, broker.PendingKey(queue), -1, -1).Result()
		if err != nil {
			return nil, err
		}
		if len(now) == 0 || now[0] != head {
			continue
		}
		if task, err := i.asynq.GetTaskInfo(queue, head); err == nil {
			stuck = append(stuck, stuckTask{queue, head, task.Type})
		}
	}
	return stuck, nil
}

// unhandled looks for tasks that nobody takes, and for those whose last error
// says that a worker had no handler for them.
func (i *Inspector) unhandled(ctx context.Context, queues []string) (stuck []stuckTask, err error) {
	if stuck, err = i.left(ctx, queues); err != nil {
		return nil, err
	}
	for _, queue := range queues {
		tasks, err := i.asynq.ListRetryTasks(queue, asynq.PageSize(retriesRead))
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			if broker.IsNoHandler(task.LastErr) {
				stuck = append(stuck, stuckTask{queue, task.ID, task.Type})
			}
		}
	}
	return stuck, nil
}

func unhandledFinding(stuck []stuckTask) []domain.Finding {
	if len(stuck) == 0 {
		return nil
	}
	types := make([]string, len(stuck))
	for n, task := range stuck {
		types[n] = fmt.Sprintf("%.100q (queue %s)", task.kind, task.queue)
	}
	slices.Sort(types)
	types = slices.Compact(types)
	const named = 5
	if more := len(types) - named; more > 0 {
		types = append(types[:named], fmt.Sprintf("%d other types", more))
	}
	return []domain.Finding{{
		Code: "type-unhandled", Level: domain.FindingWarning,
		Found:       "a worker has no handler for tasks of type " + strings.Join(types, ", "),
		Consequence: "they wait at the head of their queue, or go back to it again and again until their attempts are used up, and events behind them with the same ordering key wait",
		Remedy:      "start a worker that knows the type, and let workers that do not know it serve other queues; to give a task up, archive it in Asynqmon (with the admin token) and then discard its dead letter",
	}}
}
