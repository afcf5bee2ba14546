package publish

import (
	"context"
	"errors"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// narrow checks whether an outage concerns only some queues: Redis may refuse this user the keys of some queues and
// allow others. In that case it writes a QueueOutage into the receipts. It is called only during an outage.
func (p *Publisher) narrow(ctx context.Context, events []domain.Event, receipts []domain.Receipt) {
	if p.handle.IsCluster() {
		return // see narrowToQueues
	}
	for i := range receipts {
		r := &receipts[i]
		if r.Answer == domain.Unanswered && (!broker.IsForbiddenKey(r.Err) || errors.Is(r.Err, errQueueUntold)) {
			return
		}
	}
	if p.Ping(ctx) != nil {
		return
	}
	for i := range receipts {
		if r := &receipts[i]; r.Answer == domain.Unanswered {
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
