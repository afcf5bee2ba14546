package publish

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/acknowledge"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// Acknowledgements implements domain.Acknowledgements.
type Acknowledgements struct{ redis redis.UniversalClient }

var _ domain.Acknowledgements = (*Acknowledgements)(nil)

// NewAcknowledgements returns a reader of the acknowledgements in a Redis. Await waits on its own connection.
// NewAcknowledgements does not connect yet.
func NewAcknowledgements(r *broker.Redis) *Acknowledgements {
	return &Acknowledgements{r.NewDirectClient(1)}
}

// acknowledgedBatch is how many acknowledgements Await returns at most. acknowledgedWait is how
// long Await waits for the first one at most.
const (
	acknowledgedBatch = 1000
	acknowledgedWait  = 5 * time.Second
)

// Await implements domain.Acknowledgements.
func (a *Acknowledgements) Await(ctx context.Context, after string) ([]domain.Acknowledgement, string, error) {
	found, next, err := acknowledge.Await(ctx, a.redis, after, acknowledgedBatch, acknowledgedWait)
	if err != nil {
		return nil, after, broker.Unavailable("read acknowledgements", err)
	}
	list := make([]domain.Acknowledgement, len(found))
	for i, f := range found {
		list[i] = domain.Acknowledgement{EventID: domain.ID(f.Event), Type: f.Type, Queue: f.Queue, Outbox: f.Outbox}
	}
	return list, next, nil
}

// Close implements domain.Acknowledgements.
func (a *Acknowledgements) Close() error { return a.redis.Close() }
