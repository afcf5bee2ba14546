package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// unservedAfter is how long a task may wait while no worker serves its queue.
// A worker that is restarted is away for less.
const unservedAfter = 30 * time.Second

// waitingQueue is a queue that no worker serves.
type waitingQueue struct {
	name    string
	tasks   int
	latency time.Duration
}

// service looks whether the queues are served, and whether somebody has a handler
// for what is in them. Asynq's inspector takes no context; that Redis answers has
// just been seen.
//
// On a Redis that others use too, their queues and tasks are theirs to look after.
func (i *Inspector) service(ctx context.Context) ([]domain.Finding, error) {
	queues, err := i.asynq.Queues()
	if err != nil {
		return withheld("the queues", err)
	}
	slices.Sort(queues)
	waiting, workers, err := i.waiting(queues)
	if err != nil {
		return withheld("the queues and the workers", err)
	}
	paused, err := i.paused(ctx, queues)
	if err != nil {
		return withheld("which queues are paused", err)
	}
	suspects := slices.Clone(paused)
	for _, w := range waiting {
		suspects = append(suspects, w.name)
	}
	samples, err := i.samples(ctx, suspects)
	if err != nil {
		return withheld("the tasks that wait", err)
	}
	var hidden []domain.Finding
	unhandled, err := i.unhandled(ctx, queues)
	if err != nil {
		if hidden, err = withheld("the tasks that nobody takes", err); err != nil {
			return nil, err
		}
	}
	asked := make([]string, 0, len(unhandled))
	for _, task := range unhandled {
		asked = append(asked, task.id)
	}
	for _, queue := range suspects {
		asked = append(asked, samples[queue]...)
	}
	known := i.ask(ctx, asked)
	found, err := i.unserved(ctx, waiting, workers, samples, known)
	if err != nil {
		return withheld("the tasks that wait", err)
	}
	paused = slices.DeleteFunc(paused, func(queue string) bool { _, foreign := known.of(samples[queue]); return foreign })
	unhandled = slices.DeleteFunc(unhandled, func(t stuckTask) bool { return !known.has(t.id) })
	return slices.Concat(found, pausedFinding(paused), unhandledFinding(unhandled), hidden), nil
}

// waiting returns the queues that no worker serves although tasks wait in them,
// and how many workers there are.
func (i *Inspector) waiting(queues []string) (waiting []waitingQueue, workers int, err error) {
	servers, err := i.asynq.Servers()
	if err != nil {
		return nil, 0, err
	}
	served := map[string]bool{}
	for _, server := range servers {
		for queue := range server.Queues {
			served[queue] = true
		}
	}
	for _, queue := range queues {
		if served[queue] {
			continue
		}
		info, err := i.asynq.GetQueueInfo(queue)
		if err != nil {
			return nil, 0, err
		}
		if tasks := info.Pending + info.Scheduled + info.Retry; info.Latency >= unservedAfter || info.Pending == 0 && tasks > 0 {
			waiting = append(waiting, waitingQueue{queue, tasks, info.Latency.Round(time.Second)})
		}
	}
	return waiting, len(servers), nil
}

// unserved says which queues with tasks of ours nobody serves, and what would.
func (i *Inspector) unserved(ctx context.Context, waiting []waitingQueue, workers int, samples map[string]sample, known ours) ([]domain.Finding, error) {
	var names, cures []string
	for _, w := range waiting {
		tasks, foreign := known.of(samples[w.name])
		if foreign {
			continue
		}
		types, err := i.types(ctx, w.name, tasks)
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("%s (%d tasks, the oldest pending for %v)", w.name, w.tasks, w.latency))
		cures = append(cures, cure(w.name, types))
	}
	return unservedFinding(names, cures, workers), nil
}

func unservedFinding(waiting, cures []string, workers int) []domain.Finding {
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

// cure names the worker that a queue lacks. outboxd's own handles one type only.
func cure(queue string, types []string) string {
	var others []string
	for _, kind := range types {
		if kind != "email:send_notification" {
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

// paused returns the queues that somebody paused: Asynq's pages and command line do.
func (i *Inspector) paused(ctx context.Context, queues []string) (names []string, err error) {
	marks := make([]*redis.IntCmd, len(queues))
	_, err = i.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, queue := range queues {
			marks[n] = pipe.Exists(ctx, broker.PausedKey(queue))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n, queue := range queues {
		if marks[n].Val() > 0 {
			names = append(names, queue)
		}
	}
	return names, nil
}

func pausedFinding(names []string) []domain.Finding {
	if len(names) == 0 {
		return nil
	}
	return []domain.Finding{{
		Code: "queue-paused", Level: domain.FindingWarning,
		Found:       "somebody paused " + strings.Join(names, ", "),
		Consequence: "its tasks wait until it is resumed",
		Remedy:      "resume it in Asynqmon, at /monitoring/tasks/, or with asynq queue resume NAME",
	}}
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
