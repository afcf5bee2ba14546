package inspect

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/jobs/broker"
	"outboxd/jobs/pauses"
)

// service checks whether workers serve the queues, and whether they have handlers for the
// tasks in the queues. Asynq's inspector takes no context, but Redis has just answered
// other commands.
//
// service leaves out the queues and tasks of other programs that use the same Redis.
func (i *Inspector) service(ctx context.Context) (*thorough.QueueFacts, error) {
	queues, err := i.asynq.Queues()
	if err != nil {
		return withheld("the queues", err)
	}
	slices.Sort(queues)
	queues, forbidden := i.allowed(ctx, queues)
	facts, err := i.serviceOf(ctx, queues)
	if err != nil {
		return nil, err
	}
	facts.Forbidden = forbidden
	return facts, nil
}

// allowed returns the queues whose keys this Redis user may use, and the other queues.
func (i *Inspector) allowed(ctx context.Context, queues []string) (allowed, forbidden []string) {
	probes := make([]*redis.Cmd, len(queues))
	// Each command has its own error. If there is an outage, the next command shows it.
	_, _ = i.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, queue := range queues {
			probes[n] = broker.ProbeQueue(ctx, pipe, queue)
		}
		return nil
	})
	for n, queue := range queues {
		if broker.IsForbiddenKey(probes[n].Err()) {
			forbidden = append(forbidden, queue)
		} else {
			allowed = append(allowed, queue)
		}
	}
	return allowed, forbidden
}

func (i *Inspector) serviceOf(ctx context.Context, queues []string) (*thorough.QueueFacts, error) {
	unserved, workers, err := i.unserved(queues)
	if err != nil {
		return withheld("the queues and the workers", err)
	}
	paused, err := pauses.Among(ctx, i.redis, queues)
	if err != nil {
		return withheld("which queues are paused", err)
	}
	samples, err := i.samples(ctx, queues)
	if err != nil {
		return withheld("the tasks that wait", err)
	}
	facts := &thorough.QueueFacts{Workers: workers, Handled: i.handled}
	unhandled, err := i.unhandled(ctx, queues)
	if err != nil {
		hidden, err := withheld("the tasks that nobody takes", err)
		if err != nil {
			return nil, err
		}
		facts.Hidden = hidden.Hidden
	}
	asked := make([]string, 0, len(unhandled))
	for _, task := range unhandled {
		asked = append(asked, task.ID)
	}
	for _, queue := range suspectsFirst(queues, unserved, paused) {
		asked = append(asked, samples[queue]...)
	}
	known := i.ask(ctx, asked)
	for _, queue := range queues {
		if _, foreign := known.of(samples[queue]); foreign {
			facts.Foreign = append(facts.Foreign, queue)
		}
	}
	isForeign := func(queue string) bool { return slices.Contains(facts.Foreign, queue) }
	facts.Paused = slices.DeleteFunc(paused, isForeign)
	facts.Unhandled = slices.DeleteFunc(unhandled, func(t thorough.UnhandledTask) bool { return !known.has(t.ID) })
	facts.Unserved = slices.DeleteFunc(unserved, func(w thorough.UnservedQueue) bool { return isForeign(w.Name) })
	pausedByPerson, removed := i.resting(ctx)
	facts.Unserved = slices.DeleteFunc(facts.Unserved, func(w thorough.UnservedQueue) bool { return pausedByPerson[w.Name] })
	for n, w := range facts.Unserved {
		facts.Unserved[n].Removed = removed[w.Name]
		tasks, _ := known.of(samples[w.Name])
		if facts.Unserved[n].Types, err = i.types(ctx, w.Name, tasks); err != nil {
			return withheld("the tasks that wait", err)
		}
	}
	return facts, nil
}

// suspectsFirst puts those queues first for which there may be a finding, because the
// database is asked only about a limited number of tasks.
func suspectsFirst(queues []string, unserved []thorough.UnservedQueue, paused []string) []string {
	suspects := slices.Clone(paused)
	for _, w := range unserved {
		if !slices.Contains(suspects, w.Name) {
			suspects = append(suspects, w.Name)
		}
	}
	for _, queue := range queues {
		if !slices.Contains(suspects, queue) {
			suspects = append(suspects, queue)
		}
	}
	return suspects
}

// unserved returns the queues that have waiting tasks and no worker. A queue with pending tasks counts only if the
// oldest has been pending for diagnosis.QueueUnserved. unserved also returns the number of workers.
func (i *Inspector) unserved(queues []string) (waiting []thorough.UnservedQueue, workers int, err error) {
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
		if tasks := info.Pending + info.Scheduled + info.Retry; info.Latency >= diagnosis.QueueUnserved || info.Pending == 0 && tasks > 0 {
			waiting = append(waiting, thorough.UnservedQueue{Name: queue, Tasks: int64(tasks), Oldest: info.Latency})
		}
	}
	return waiting, len(servers), nil
}

// withheld returns a fact if err says that Redis refused to answer. Any other err is returned as it is.
func withheld(what string, err error) (*thorough.QueueFacts, error) {
	if !broker.IsWithheld(err) {
		return nil, err
	}
	return &thorough.QueueFacts{Hidden: what}, nil
}
