package jobs

import (
	"context"
	"crypto/md5" //nolint:gosec // Asynq's choice
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// Publisher is the domain.Publisher: it hands events to Asynq.
type Publisher struct {
	redis redis.UniversalClient
	lanes sync.Pool // of *lane
}

var _ domain.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher for a Redis, with a connection for each of
// that many concurrent calls of Publish. It does not connect.
func NewPublisher(opt asynq.RedisConnOpt, concurrency int) (*Publisher, error) {
	client, err := NewRedis(opt, concurrency+1)
	if err != nil {
		return nil, err
	}
	p := &Publisher{redis: client}
	p.lanes.New = func() any { return newLane(client) }
	return p, nil
}

// Close closes the connections. Publish must have returned.
func (p *Publisher) Close() error { return p.redis.Close() }

// Publish implements domain.Publisher: the whole batch in one round trip.
func (p *Publisher) Publish(ctx context.Context, events []domain.Event) []error {
	l := p.lanes.Get().(*lane) //nolint:forcetypeassert // the pool holds nothing else
	commands, refusals := l.carry(ctx, events)
	results := make([]error, len(events))
	outage := false
	for i := range events {
		results[i] = p.judge(ctx, &events[i], commands[i], refusals[i])
		outage = outage || domain.ErrorCode(results[i]) == domain.CodeUnavailable
	}
	if !outage {
		// After an outage the lane is left: Asynq's client remembers which
		// queues it has told Redis about, and Redis may have forgotten.
		p.lanes.Put(l)
	}
	return results
}

// judge says what Redis's answer means for an event.
func (p *Publisher) judge(ctx context.Context, e *domain.Event, command *redis.Cmd, refusal error) error {
	if refusal != nil {
		// Asynq refused the task itself, and would again.
		return domain.Wrap(domain.CodeInvalid, refusal, "the event can never be enqueued")
	}
	answer := command.Err()
	if answer != nil && isFromScript(answer) {
		if err := p.clearAway(ctx, e); err != nil {
			return domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
		}
	}
	if isOutage(answer) {
		return domain.Wrap(domain.CodeUnavailable, answer, "the queue is unavailable")
	}
	return answer
}

// clearAway removes what a script that failed halfway has left. A script of
// Redis is not undone: the task's own key may be there without the task being in
// its queue, and the next attempt would take it for "already there". Asynq's
// scripts begin with a look for that key, and end if they find it: one that
// went on and failed has made it.
func (p *Publisher) clearAway(ctx context.Context, e *domain.Event) error {
	key := "asynq:{" + e.Queue + "}:t:" + e.TaskID()
	// If even the look is forbidden, the script did not get beyond it either,
	// and the key is not its own.
	if there, err := p.redis.Exists(ctx, key).Result(); err != nil || there == 0 {
		return err
	}
	keys := []string{key}
	if e.Options.Unique > 0 {
		keys = append(keys, fmt.Sprintf("asynq:{%s}:unique:%s:%x", e.Queue, e.Type, md5.Sum(e.Payload))) //nolint:gosec // Asynq's choice
	}
	return p.redis.Del(ctx, keys...).Err()
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
// no writes: a replica, or one that is out of memory. It lies where Asynq's keys
// do, for users who may write nowhere else.
const probeKey = "asynq:{outboxd}:probe"

// Ping implements domain.Publisher.
func (p *Publisher) Ping(ctx context.Context) error {
	if err := p.redis.Set(ctx, probeKey, time.Now().Unix(), time.Minute).Err(); err != nil {
		return domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
	}
	return nil
}
