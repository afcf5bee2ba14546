package publish

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/lookup"
)

// Publisher implements domain.Publisher: it enqueues events as Asynq tasks.
type Publisher struct {
	handle      *broker.Redis
	redis       redis.UniversalClient
	tasks       *lookup.Finder
	lanes       sync.Map     // client to *sync.Pool of *lane; emptied by Renew
	canary      atomic.Value // that the last call of Advance was to write, a string
	renewed     atomic.Int64 // incremented when all lanes must be replaced
	unconfirmed []string     // types of events that no consumer confirms
	replicas    int          // that must have a batch before it counts as enqueued
}

var _ domain.Publisher = (*Publisher)(nil)

// New returns a Publisher for a Redis. Each call of Publish uses one connection of r at a time, and in a cluster
// one to each master.
func New(r *broker.Redis) *Publisher {
	return &Publisher{handle: r, redis: r.Client(), tasks: lookup.New(r)}
}

// Tasks returns the Finder that the Publisher uses. Callers that share it also share its cache of long queues.
func (p *Publisher) Tasks() *lookup.Finder { return p.tasks }

// WaitReplicas sets how many replicas must acknowledge each batch, and each Ping outside of a cluster. If fewer
// do, the batch or Ping fails. So a failover to a replica that acknowledged loses no task. With 0, the default,
// the Publisher does not wait for replicas. Call WaitReplicas before the first use.
func (p *Publisher) WaitReplicas(replicas int) { p.replicas = replicas }

// Publish implements domain.Publisher. Publish sends the batch in one round trip, or in one for each mebibyte of
// payload. In a cluster that holds for each master. Publish needs further round trips if Redis refuses something or
// already has a task.
func (p *Publisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	if p.handle.IsCluster() {
		return p.publishToCluster(ctx, events)
	}
	return p.publishTo(ctx, p.redis, events)
}

// publishTo sends events to one server.
func (p *Publisher) publishTo(ctx context.Context, client redis.UniversalClient, events []domain.Event) []domain.Receipt {
	lanes := p.lanesOf(client)
	l := p.lane(lanes)
	receipts := make([]domain.Receipt, len(events))
	short := l.carry(ctx, events, receipts, p.replicas)
	p.findHolders(ctx, events, receipts)
	if err := p.lookCloser(ctx, l, events, receipts); short == nil {
		short = err
	}
	outage := false
	for i := range receipts {
		if r := &receipts[i]; !r.Received() {
			*r = p.resolve(ctx, &events[i], *r)
		}
		if r := &receipts[i]; r.Failure() == nil && short != nil {
			*r = unanswered(short) // Redis has the task, but may still lose it
		}
		outage = outage || receipts[i].Answer == domain.Unanswered
	}
	if outage {
		// Asynq's clients remember which queues they have announced, and Redis may have lost these queues.
		p.Renew()
		p.narrow(ctx, events, receipts)
	} else {
		lanes.Put(l)
	}
	return receipts
}

// laneLife is how long a lane is used. A new lane announces its queues to Redis again. So if Redis is emptied
// unnoticed, a queue that gets events is in Asynq's list of queues again after laneLife.
const laneLife = time.Minute

// lanesOf returns the lanes to a server.
func (p *Publisher) lanesOf(client redis.UniversalClient) *sync.Pool {
	if lanes, found := p.lanes.Load(client); found {
		return lanes.(*sync.Pool) //nolint:forcetypeassert // the map holds nothing else
	}
	lanes, _ := p.lanes.LoadOrStore(client, &sync.Pool{New: func() any { return p.newLane(client) }})
	return lanes.(*sync.Pool) //nolint:forcetypeassert // as above
}

// newLane returns a lane to a server.
func (p *Publisher) newLane(client redis.UniversalClient) *lane {
	l := newLane(client, p.renewed.Load())
	if p.handle.IsCluster() {
		l.whole = p.redis
	}
	return l
}

// lane returns a lane that is neither outdated (see Renew) nor older than laneLife.
func (p *Publisher) lane(lanes *sync.Pool) *lane {
	for {
		l := lanes.Get().(*lane) //nolint:forcetypeassert // the pool holds nothing else
		if l.renewed == p.renewed.Load() && time.Since(l.made) < laneLife {
			return l
		}
	}
}

// resolve handles an event for which Redis returned an error or a held unique lock.
func (p *Publisher) resolve(ctx context.Context, e *domain.Event, r domain.Receipt) domain.Receipt {
	if lock, held := r.Err.(uniqueLock); held { //nolint:errorlint // put there by readReceipt
		return p.again(ctx, e, string(lock))
	}
	if _, looked := errors.AsType[lookError](r.Err); looked {
		return r
	}
	if (r.Answer == domain.Rejected || r.Answer == domain.Unanswered) && broker.IsFromScript(r.Err) && !broker.IsWriteRefusal(r.Err) {
		if err := p.clearAway(ctx, e); err != nil {
			return unanswered(err)
		}
	}
	return r
}

// clearAway removes the remains of an Asynq script that failed halfway. Redis does not roll a script back: the
// task's key may exist although no list has the task. The next attempt would take that key for an existing task.
// Asynq's scripts stop if the key exists, so a script that failed after that point has created the key itself. The
// script for unique tasks takes the lock before it checks the key: if it failed before the check, the key belongs
// to an existing task and must stay.
func (p *Publisher) clearAway(ctx context.Context, e *domain.Event) error {
	key := broker.TaskKey(e.Queue, e.TaskID())
	// If even EXISTS is forbidden for the key, the script did not get further either, and did not create the key.
	if there, err := p.redis.Exists(ctx, key).Result(); err != nil || there == 0 {
		return err
	}
	if e.Options.Unique == 0 {
		return p.redis.Del(ctx, key).Err()
	}
	lock, err := p.redis.HGet(ctx, key, "unique_key").Result()
	if errors.Is(err, redis.Nil) {
		return nil // the script did not make the key
	}
	if err != nil {
		return err
	}
	switch holder, err := p.redis.Get(ctx, lock).Result(); {
	case errors.Is(err, redis.Nil), err == nil && holder != e.TaskID():
		return nil
	case err != nil:
		return err
	}
	return p.redis.Del(ctx, key, lock).Err()
}

// Ping implements domain.Publisher.
func (p *Publisher) Ping(ctx context.Context) error {
	if p.handle.IsCluster() {
		return p.pingAny(ctx)
	}
	const probing = "probe Redis"
	pipe := p.redis.Pipeline()
	probed := broker.Probe(ctx, pipe)
	wait := askReplicas(ctx, pipe, broker.ProbeKey, p.replicas)
	if _, err := pipe.Exec(ctx); err != nil {
		return broker.Unavailable(probing, err)
	}
	if answer := probed.Val(); answer != broker.Probed {
		return broker.Unavailable(probing, redisreply.Unexpected{To: "a probe", Reply: answer})
	}
	return enoughReplicas(wait, p.replicas)
}
