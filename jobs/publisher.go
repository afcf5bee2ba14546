package jobs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// inFlight is how many events one Publish has on the way at once. Asynq's
// client enqueues one task at a time; many callers fill the round trips.
const inFlight = 64

// Publisher is the domain.Publisher: it hands events to Asynq.
type Publisher struct {
	redis  redis.UniversalClient
	client *asynq.Client
}

var _ domain.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher for a Redis, with connections of its own for
// that many concurrent calls of Publish. It does not connect.
func NewPublisher(opt asynq.RedisConnOpt, concurrency int) (*Publisher, error) {
	client, err := NewRedis(opt, inFlight*concurrency+1)
	if err != nil {
		return nil, err
	}
	return &Publisher{redis: client, client: asynq.NewClientFromRedisClient(client)}, nil
}

// Close closes the connections. Publish must have returned.
func (p *Publisher) Close() error { return p.redis.Close() }

// errNotTried is the result of events that came after an outage in their batch.
var errNotTried = domain.Errorf(domain.CodeUnavailable, "not tried, because the queue is unreachable")

// Publish implements domain.Publisher. After the first sign of an outage it
// tries no further event, so that a dead Redis costs one timeout and not one
// for each.
func (p *Publisher) Publish(ctx context.Context, events []domain.Event) []error {
	results := make([]error, len(events))
	var next atomic.Int64
	var outage atomic.Bool
	var publishing sync.WaitGroup
	for range min(inFlight, len(events)) {
		publishing.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(events)); i = next.Add(1) - 1 {
				if outage.Load() {
					results[i] = errNotTried
					continue
				}
				results[i] = p.enqueue(ctx, &events[i])
				if domain.ErrorCode(results[i]) == domain.CodeUnavailable {
					outage.Store(true)
				}
			}
		})
	}
	publishing.Wait()
	return results
}

func (p *Publisher) enqueue(ctx context.Context, e *domain.Event) error {
	task := asynq.NewTaskWithHeaders(e.Type, e.Payload, e.Headers)
	_, err := p.client.EnqueueContext(ctx, task, taskOptions(e)...)
	switch {
	case err == nil, errors.Is(err, asynq.ErrTaskIDConflict):
		return nil
	case errors.Is(err, asynq.ErrDuplicateTask):
		// Another task holds the unique lock that the producer asked for, or
		// this one does, from an attempt whose answer was lost. Either way
		// the queue has what it should have.
		return nil
	case isRedisUnavailable(err):
		return domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
	case strings.TrimSpace(e.Type) == "" || strings.TrimSpace(e.Queue) == "":
		return domain.Wrap(domain.CodeInvalid, err, "the event can never be enqueued")
	default:
		return err
	}
}

// taskOptions turns the row's options into Asynq's. What the row does not say
// is left to Asynq.
func taskOptions(e *domain.Event) []asynq.Option {
	opts := []asynq.Option{asynq.TaskID(e.TaskID()), asynq.Queue(e.Queue)}
	o := e.Options
	if o.MaxRetry != nil {
		opts = append(opts, asynq.MaxRetry(*o.MaxRetry))
	}
	if o.Timeout > 0 {
		opts = append(opts, asynq.Timeout(o.Timeout))
	}
	if !o.Deadline.IsZero() {
		opts = append(opts, asynq.Deadline(o.Deadline))
	}
	if o.Retention > 0 {
		opts = append(opts, asynq.Retention(o.Retention))
	}
	if o.Unique > 0 {
		opts = append(opts, asynq.Unique(o.Unique))
	}
	return opts
}

// probeKey is written by Ping. A PING would be answered by a Redis that takes
// no writes: a replica, or one that is out of memory.
const probeKey = "outboxd:probe"

// Ping implements domain.Publisher.
func (p *Publisher) Ping(ctx context.Context) error {
	if err := p.redis.Set(ctx, probeKey, time.Now().Unix(), time.Minute).Err(); err != nil {
		return domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
	}
	return nil
}
