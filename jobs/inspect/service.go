package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// unservedAfter is how long a task may wait while no worker serves its queue.
// A worker that is restarted is away for less.
const unservedAfter = 30 * time.Second

// service looks whether the queues are served. Asynq's inspector takes no
// context; that Redis answers has just been seen.
func (i *Inspector) service(ctx context.Context) ([]domain.Finding, error) {
	queues, err := i.asynq.Queues()
	if err != nil {
		return withheld("the queues", err)
	}
	servers, err := i.asynq.Servers()
	if err != nil {
		return withheld("the workers", err)
	}
	served := map[string]bool{}
	for _, server := range servers {
		for queue := range server.Queues {
			served[queue] = true
		}
	}
	slices.Sort(queues)
	var waiting, cures []string
	for _, queue := range queues {
		if served[queue] {
			continue
		}
		info, err := i.asynq.GetQueueInfo(queue)
		if err != nil {
			return withheld("the queues", err)
		}
		if tasks := info.Pending + info.Scheduled + info.Retry; info.Latency >= unservedAfter || info.Pending == 0 && tasks > 0 {
			waiting = append(waiting, fmt.Sprintf("%s (%d tasks, the oldest pending for %v)", queue, tasks, info.Latency.Round(time.Second)))
			types, err := i.waitingTypes(queue)
			if err != nil {
				return withheld("the tasks that wait", err)
			}
			cures = append(cures, cure(queue, types))
		}
	}
	paused, err := i.paused(ctx, queues)
	if err != nil {
		return withheld("which queues are paused", err)
	}
	unhandled, err := i.unhandled(ctx, queues)
	if err != nil {
		return nil, err
	}
	return slices.Concat(unserved(waiting, cures, len(servers)), paused, unhandled), nil
}

func unserved(waiting, cures []string, workers int) []domain.Finding {
	if len(waiting) == 0 {
		return nil
	}
	return []domain.Finding{{
		Code: "queue-unserved", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("no worker serves %s; %d workers run", strings.Join(waiting, ", "), workers),
		Consequence: "these tasks wait for ever, and so do events behind them with the same ordering key",
		Remedy:      strings.Join(cures, "; "),
	}}
}

// typesRead is how many tasks of each kind a look reads in a queue. Their payloads come along.
const typesRead = 10

// waitingTypes returns types of tasks that wait in a queue.
func (i *Inspector) waitingTypes(queue string) (types []string, err error) {
	for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		i.asynq.ListPendingTasks, i.asynq.ListScheduledTasks, i.asynq.ListRetryTasks,
	} {
		tasks, err := list(queue, asynq.PageSize(typesRead))
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			types = append(types, task.Type)
		}
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}

// cure names the worker that a queue lacks. outboxd's own handles one type only.
func cure(queue string, types []string) string {
	var others []string
	for _, kind := range types {
		if kind != domain.TypeSendNotification {
			others = append(others, fmt.Sprintf("%.100q", kind))
		}
	}
	if len(others) == 0 {
		return fmt.Sprintf("start outboxd --roles=worker --worker-queues=%s=1", queue)
	}
	const named = 5
	if more := len(others) - named; more > 0 {
		others = append(others[:named], fmt.Sprintf("%d other types", more))
	}
	return fmt.Sprintf("start the worker that handles %s, and let it serve the queue %s: outboxd's own has no handler for that", strings.Join(others, ", "), queue)
}

// paused reads what Asynq's pages and command line set.
func (i *Inspector) paused(ctx context.Context, queues []string) ([]domain.Finding, error) {
	marks := make([]*redis.IntCmd, len(queues))
	_, err := i.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, queue := range queues {
			marks[n] = pipe.Exists(ctx, broker.PausedKey(queue))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for n, queue := range queues {
		if marks[n].Val() > 0 {
			names = append(names, queue)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return []domain.Finding{{
		Code: "queue-paused", Level: domain.FindingWarning,
		Found:       "somebody paused " + strings.Join(names, ", "),
		Consequence: "its tasks wait until it is resumed",
		Remedy:      "resume it in Asynqmon, at /monitoring/tasks/, or with asynq queue resume NAME",
	}}, nil
}

// withheld makes a refusal a finding, and leaves an outage an error.
func withheld(what string, err error) ([]domain.Finding, error) {
	if !broker.IsWithheld(err) {
		return nil, err
	}
	return []domain.Finding{{
		Code: "redis-queues-hidden", Level: domain.FindingNote,
		Found:       "Redis does not let this user read " + what,
		Consequence: "queues that no worker serves, or that somebody paused, would not be seen from here",
		Remedy:      "let its user run Asynq's commands on the keys asynq:*",
	}}, nil
}
