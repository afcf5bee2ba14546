package publish

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/lookup"
)

// Publisher implements domain.Publisher: it hands events to Asynq.
type Publisher struct {
	handle      *broker.Redis
	redis       redis.UniversalClient
	tasks       *lookup.Finder
	lanes       sync.Map     // client to *sync.Pool of *lane
	canary      atomic.Value // the last one that was written to a cluster, a string
	renewed     atomic.Int64 // incremented when all lanes must be replaced
	unconfirmed []string     // types of events that no consumer confirms
	replicas    int          // that must have a batch before it counts as delivered
}

var _ domain.Publisher = (*Publisher)(nil)

// New returns a Publisher for a Redis. Each call of Publish takes one of
// its connections.
func New(r *broker.Redis) *Publisher {
	return &Publisher{handle: r, redis: r.Client(), tasks: lookup.New(r)}
}

// Tasks returns the Finder of the Publisher. Sharing it shares its cache of long
// queues.
func (p *Publisher) Tasks() *lookup.Finder { return p.tasks }

// WaitReplicas makes a batch, and a Ping, succeed only when this many replicas have
// acknowledged it, so that a failover loses nothing of it. 0, the default, does not wait.
// Call it before the first use.
func (p *Publisher) WaitReplicas(replicas int) { p.replicas = replicas }

// Publish implements domain.Publisher. It sends the whole batch in one round
// trip, or one for each mebibyte; in a cluster, to each master that has queues of it.
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
		// All lanes are replaced: Asynq's clients remember which queues they
		// have told Redis about, and Redis may have forgotten them.
		p.renewed.Add(1)
		p.narrow(ctx, events, receipts)
	} else {
		lanes.Put(l)
	}
	return receipts
}

// laneLife bounds how long Redis may not know its queues after something
// emptied it unnoticed: a new lane tells it again.
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

// lane returns a lane that need not be replaced.
func (p *Publisher) lane(lanes *sync.Pool) *lane {
	for {
		l := lanes.Get().(*lane) //nolint:forcetypeassert // the pool holds nothing else
		if l.renewed == p.renewed.Load() && time.Since(l.made) < laneLife {
			return l
		}
	}
}

// resolve handles an event that Redis did not simply accept.
func (p *Publisher) resolve(ctx context.Context, e *domain.Event, r domain.Receipt) domain.Receipt {
	if lock, held := r.Err.(uniqueLock); held { //nolint:errorlint // put there by readReceipt
		return p.again(ctx, e, string(lock))
	}
	if (r.Answer == domain.Rejected || r.Answer == domain.Unanswered) && broker.IsFromScript(r.Err) && !broker.IsWriteRefusal(r.Err) {
		if err := p.clearAway(ctx, e); err != nil {
			return unanswered(err)
		}
	}
	return r
}

// clearAway removes the remains of a script that failed halfway. Redis does not
// undo a script: the task's key may exist although no queue has the task, and
// the next attempt would take it for "already there". Asynq's scripts stop if
// they find that key, so a script that failed later has made it. The script for
// unique tasks takes the lock before it looks for the key: if it failed there,
// the key belongs to a living task.
func (p *Publisher) clearAway(ctx context.Context, e *domain.Event) error {
	key := broker.TaskKey(e.Queue, e.TaskID())
	// If even this look is forbidden, the script did not get further either,
	// and the key is not its own.
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
		return broker.Unavailable(probing, broker.UnexpectedReply{To: "a probe", Reply: answer})
	}
	return enoughReplicas(wait, p.replicas)
}
