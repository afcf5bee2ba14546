package inspect

import (
	"context"

	"github.com/hibiken/asynq"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/jobs/broker"
)

// retriesRead is the number of tasks of a queue's retry set that an examination reads. The
// examination reads the tasks that are due first. Redis returns their payloads too, by
// default up to a mebibyte each. A task for which a worker of outboxd had no handler is
// due again within a minute. So other tasks do not hide such a task from the examination
// for long.
const retriesRead = 50

// left returns the tasks at the head of a queue that no worker takes. A worker of outboxd
// notes such a task in Redis. left returns a noted task if it is still at the head of its
// queue.
func (i *Inspector) left(ctx context.Context, queues []string) (stuck []thorough.UnhandledTask, err error) {
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
			stuck = append(stuck, thorough.UnhandledTask{Queue: queue, ID: head, Type: task.Type})
		}
	}
	return stuck, nil
}

// unhandled returns the tasks that no worker takes, and the tasks whose last error says
// that a worker had no handler for them.
func (i *Inspector) unhandled(ctx context.Context, queues []string) (stuck []thorough.UnhandledTask, err error) {
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
				stuck = append(stuck, thorough.UnhandledTask{Queue: queue, ID: task.ID, Type: task.Type})
			}
		}
	}
	return stuck, nil
}
