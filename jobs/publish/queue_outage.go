package publish

import (
	"context"
	"errors"
	"slices"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// narrow checks whether an outage concerns only some queues: Redis may refuse this user the keys of some queues and
// allow others. In that case it writes a QueueOutage into the receipts. It is called only during an outage.
func (p *Publisher) narrow(ctx context.Context, events []domain.Event, receipts []domain.Receipt) {
	if p.handle.IsCluster() {
		return // see narrowToQueues
	}
	// Some errors name their queues already: those that lookCloser has found.
	open := func(r domain.Receipt) bool {
		return r.Answer == domain.Unanswered && len(domain.UnusableQueues(r.Err)) == 0
	}
	for _, r := range receipts {
		if open(r) && (!broker.IsForbiddenKey(r.Err) || errors.Is(r.Err, errQueueUntold)) {
			return
		}
	}
	if !slices.ContainsFunc(receipts, open) || p.Ping(ctx) != nil {
		return
	}
	for i := range receipts {
		if r := &receipts[i]; open(*r) {
			r.Err = &domain.QueueOutage{Queue: events[i].Queue, Err: r.Err}
		}
	}
}

// PingQueue implements domain.Publisher.
func (p *Publisher) PingQueue(ctx context.Context, queue string) error {
	probe := broker.ProbeQueue
	if p.handle.IsCluster() {
		probe = broker.ProbeShard
	}
	if err := probe(ctx, p.redis, queue).Err(); err != nil {
		return broker.Unavailable("probe a queue", err)
	}
	return nil
}
