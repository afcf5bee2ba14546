package jobs

import (
	"context"
	"crypto/md5" //nolint:gosec // Asynq's choice
	"errors"
	"fmt"
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
	redis redis.UniversalClient
	// client is made anew after an outage: it remembers which queues it has
	// told Redis about, and Redis may have forgotten.
	client atomic.Pointer[asynq.Client]
}

var _ domain.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher for a Redis, with connections of its own for
// that many concurrent calls of Publish. It does not connect.
func NewPublisher(opt asynq.RedisConnOpt, concurrency int) (*Publisher, error) {
	client, err := NewRedis(opt, inFlight*concurrency+1)
	if err != nil {
		return nil, err
	}
	client.AddHook(replyHook{})
	p := &Publisher{redis: client}
	p.renew()
	return p, nil
}

func (p *Publisher) renew() { p.client.Store(asynq.NewClientFromRedisClient(p.redis)) }

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
	if outage.Load() {
		p.renew()
	}
	return results
}

func (p *Publisher) enqueue(ctx context.Context, e *domain.Event) error {
	exchange, reply := withReply(ctx)
	task := asynq.NewTaskWithHeaders(e.Type, e.Payload, e.Headers)
	_, err := p.client.Load().EnqueueContext(exchange, task, taskOptions(e)...)
	switch {
	case err == nil, errors.Is(err, asynq.ErrTaskIDConflict):
		return nil
	case errors.Is(err, asynq.ErrDuplicateTask):
		// Another task holds the unique lock that the producer asked for, or
		// this one does, from an attempt whose answer was lost. Either way
		// the queue has what it should have.
		return nil
	case isOutage(*reply):
		return domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
	case *reply != nil:
		return p.refused(ctx, e, err, *reply)
	default:
		// Asynq refused the task itself, and would again.
		return domain.Wrap(domain.CodeInvalid, err, "the event can never be enqueued")
	}
}

// refused clears away what a script that failed halfway has left. A script of
// Redis is not undone: the task's own key may be there without the task being in
// its queue, and the next attempt would take it for "already there". Asynq's
// scripts look for that key first and write it themselves, so one that failed
// for a key of the wrong type has just made it.
func (p *Publisher) refused(ctx context.Context, e *domain.Event, err, reply error) error {
	if !strings.HasPrefix(reply.Error(), "WRONGTYPE") {
		return err
	}
	keys := []string{"asynq:{" + e.Queue + "}:t:" + e.TaskID()}
	if e.Options.Unique > 0 {
		keys = append(keys, fmt.Sprintf("asynq:{%s}:unique:%s:%x", e.Queue, e.Type, md5.Sum(e.Payload))) //nolint:gosec // Asynq's choice
	}
	if cleared := p.redis.Del(ctx, keys...).Err(); cleared != nil {
		return domain.Wrap(domain.CodeUnavailable, cleared, "the queue is unavailable")
	}
	return err
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
