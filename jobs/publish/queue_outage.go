package publish

import (
	"context"
	"errors"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// narrow looks whether an outage is one of some queues only, and says so in the
// receipts: where Redis refuses nothing but the keys of their tasks, and lets
// others be used. It asks only when there is an outage.
func (p *Publisher) narrow(ctx context.Context, events []domain.Event, receipts []domain.Receipt) {
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
	if err := broker.ProbeQueue(ctx, p.redis, queue).Err(); err != nil {
		return broker.Unavailable("probe a queue", err)
	}
	return nil
}
