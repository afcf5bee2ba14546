package relay

import (
	"context"

	"outboxd/domain"
)

// publishAll hands events to Redis. If Publish panics, publishAll hands over each event alone: for most events
// this is a harmless repeat. An event with which Publish panics alone gets the answer Impossible.
func (p *poller) publishAll(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts, panicked := p.publishOrPanic(ctx, events)
	switch {
	case panicked == nil:
		return receipts
	case len(events) == 1:
		p.log.Error("an event cannot be enqueued as a task", "event_id", events[0].ID, "event_type", events[0].Type, "error", panicked)
		return []domain.Receipt{{Answer: domain.Impossible, Err: panicked}}
	}
	receipts = make([]domain.Receipt, 0, len(events))
	for i := range events {
		receipts = append(receipts, p.publishAll(ctx, events[i:i+1])...)
	}
	return receipts
}

// publishOrPanic returns one receipt for each event. If Publish panics, publishOrPanic returns the panic as an
// error.
func (p *poller) publishOrPanic(ctx context.Context, events []domain.Event) (receipts []domain.Receipt, panicked error) {
	receipts = make([]domain.Receipt, len(events))
	return receipts, domain.Recovered("panic", func() error {
		copy(receipts, p.o.Publisher.Publish(ctx, events))
		return nil
	})
}
