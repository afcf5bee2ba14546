package jobs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// Publisher is the domain.Publisher: it hands events to Asynq.
type Publisher struct {
	redis       redis.UniversalClient
	tasks       looker
	lanes       sync.Pool    // of *lane
	renewed     atomic.Int64 // how often lanes were to be replaced
	unconfirmed []string     // types of events that nobody confirms
	replicas    int          // that have to have a batch before it counts
}

var _ domain.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher for a Redis, with a connection for each of
// that many concurrent calls of Publish. It does not connect.
func NewPublisher(opt asynq.RedisConnOpt, concurrency int) (*Publisher, error) {
	client, err := NewRedis(opt, concurrency+1)
	if err != nil {
		return nil, err
	}
	p := &Publisher{redis: client, tasks: looker{redis: client}}
	p.lanes.New = func() any { return newLane(client, p.renewed.Load()) }
	return p, nil
}

// WaitReplicas makes a batch, and a Ping, succeed only when that many replicas
// have acknowledged it, so that a failover loses nothing of it. 0, which is the default, does
// not wait. It must be called before the first use.
func (p *Publisher) WaitReplicas(replicas int) { p.replicas = replicas }

// Close closes the connections. Publish must have returned.
func (p *Publisher) Close() error { return p.redis.Close() }

// Publish implements domain.Publisher: the whole batch in one round trip, or
// one for each mebibyte.
func (p *Publisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	l := p.lane()
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
			*r = unanswered(short) // Redis has the task, and may still lose it
		}
		outage = outage || receipts[i].Answer == domain.Unanswered
	}
	if outage {
		// All lanes are left: Asynq's clients remember which queues they have
		// told Redis about, and Redis may have forgotten.
		p.renewed.Add(1)
	} else {
		p.lanes.Put(l)
	}
	return receipts
}

// laneLife bounds how long other processes, and tools, may have emptied Redis
// without anybody here having noticed, until it hears of its queues again.
const laneLife = time.Minute

// lane returns one that is not to be replaced.
func (p *Publisher) lane() *lane {
	for {
		l := p.lanes.Get().(*lane) //nolint:forcetypeassert // the pool holds nothing else
		if l.renewed == p.renewed.Load() && time.Since(l.made) < laneLife {
			return l
		}
	}
}

// resolve looks after an event that Redis did not simply take.
func (p *Publisher) resolve(ctx context.Context, e *domain.Event, r domain.Receipt) domain.Receipt {
	if lock, held := r.Err.(uniqueLock); held { //nolint:errorlint // put there by readReceipt
		return p.again(ctx, e, string(lock))
	}
	if (r.Answer == domain.Rejected || r.Answer == domain.Unanswered) && isFromScript(r.Err) && !isWriteRefusal(r.Err) {
		if err := p.clearAway(ctx, e); err != nil {
			return unanswered(err)
		}
	}
	return r
}

// clearAway removes what a script that failed halfway has left. A script of
// Redis is not undone: the task's own key may be there without the task being in
// its queue, and the next attempt would take it for "already there". Asynq's
// scripts look for that key before they make it, and end if they find it: one
// that went on and failed has made it. One for a unique task takes the lock
// before that look, and where it failed at that, the key is that of a task
// which lives.
func (p *Publisher) clearAway(ctx context.Context, e *domain.Event) error {
	key := taskKey(e.Queue, e.TaskID())
	// If even the look is forbidden, the script did not get beyond it either,
	// and the key is not its own.
	if there, err := p.redis.Exists(ctx, key).Result(); err != nil || there == 0 {
		return err
	}
	if e.Options.Unique == 0 {
		return p.redis.Del(ctx, key).Err()
	}
	lock, err := p.redis.HGet(ctx, key, "unique_key").Result()
	if errors.Is(err, redis.Nil) {
		return nil // the key is not the script's
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

// probeKey is written by Ping, in a script, as tasks are. A PING would be answered
// by a Redis that takes no writes: a replica, or one that is out of memory. It
// lies where Asynq's keys do, for users who may write nowhere else.
const probeKey = "asynq:{outboxd}:probe"

// probeScript does what Asynq's scripts do to enqueue, and leaves nothing but the
// key.
const probeScript = `
redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)
redis.call('EXISTS', KEYS[2])
redis.call('HSET', KEYS[2], 'msg', ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
return 1`

// probe runs the script.
func probe(ctx context.Context, client redis.Scripter) *redis.Cmd {
	return client.Eval(ctx, probeScript, []string{probeKey, probeKey + ":task", probeKey + ":list"}, time.Now().Unix())
}

// Ping implements domain.Publisher.
func (p *Publisher) Ping(ctx context.Context) error {
	pipe := p.redis.Pipeline()
	probed := probe(ctx, pipe)
	wait := askReplicas(ctx, pipe, p.replicas)
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(err)
	}
	if answer := probed.Val(); answer != scriptEnqueued {
		return unavailable(unexpectedReply{"a probe", answer})
	}
	return enoughReplicas(wait, p.replicas)
}
