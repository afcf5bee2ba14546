package inspect

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/jobs/broker"
)

const inspectPatience = 5 * time.Second

// Inspector implements domain.Examiner for Redis. The Inspector examines the settings and the state of Redis,
// and whether workers serve its queues.
type Inspector struct {
	handle    *broker.Redis
	redis     redis.UniversalClient
	asynq     *asynq.Inspector
	inProcess bool
	known     Known             // nil: all tasks belong to this database
	receivers Receivers         // nil: no subscription is paused or was removed
	handled   map[string]string // as in thorough.QueueFacts
	now       func() time.Time
	last      atomic.Pointer[thorough.QueueFacts]
}

// NewInspector returns an Inspector. inProcess says that Redis runs inside an outboxd
// process. A Redis inside a process has no settings to read. now is this machine's clock.
func NewInspector(r *broker.Redis, inProcess bool, now func() time.Time) *Inspector {
	return &Inspector{handle: r, redis: r.Client(), asynq: r.Inspector(), inProcess: inProcess, now: now}
}

// Handles sets for which event types a worker of this build has a handler. For each type,
// types has the flag with which the worker must be started; "": no flag is needed. Call
// Handles before the first use.
func (i *Inspector) Handles(types map[string]string) { i.handled = types }

// OnlyOurs makes the Inspector leave out findings about tasks of other programs on the
// same Redis: an outboxd with another database, or a program that uses Asynq without
// outboxd. Call OnlyOurs before the first use.
func (i *Inspector) OnlyOurs(known Known) { i.known = known }

// Receivers is a function that returns the subscriptions to which workers deliver nothing, and why.
type Receivers func(ctx context.Context) ([]overview.ReceiverStatus, error)

// Receivers tells the Inspector which subscriptions are paused or removed: the queue of
// such a subscription needs no worker. Call Receivers before the first use.
func (i *Inspector) Receivers(of Receivers) { i.receivers = of }

// resting returns the queues that need no worker: those of paused and of removed
// subscriptions. resting returns no queue if the database does not answer.
func (i *Inspector) resting(ctx context.Context) (paused, removed map[string]bool) {
	paused, removed = map[string]bool{}, map[string]bool{}
	if i.receivers == nil {
		return paused, removed
	}
	// The limit leaves time for the questions to Redis that follow.
	ctx, cancel := context.WithTimeout(ctx, receiversPatience)
	defer cancel()
	list, _ := i.receivers(ctx)
	for _, r := range list {
		queue := setup.SubscriptionQueuePrefix + r.Subscription
		paused[queue], removed[queue] = r.Paused && !r.Removed, r.Removed
	}
	return paused, removed
}

var _ domain.Examiner = (*Inspector)(nil)

// Examine implements domain.Examiner.
func (i *Inspector) Examine(ctx context.Context) ([]domain.Finding, error) {
	facts, err := i.Facts(ctx)
	return facts.Findings(), err
}

// Facts reads the facts from which Examine makes findings. Errors: CodeUnavailable.
func (i *Inspector) Facts(ctx context.Context) (thorough.RedisFacts, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	facts, err := i.read(ctx)
	if err != nil {
		return thorough.RedisFacts{}, broker.Unavailable("examine Redis", err)
	}
	return facts, nil
}

func (i *Inspector) read(ctx context.Context) (facts thorough.RedisFacts, err error) {
	facts.InProcess = i.inProcess
	if !i.inProcess {
		if err = i.readServers(ctx, &facts); err != nil {
			return facts, err
		}
		if facts.Clock, err = i.clock(ctx); err != nil {
			return facts, err
		}
		if facts.Condition.IsReplica() {
			return facts, nil // a replica refuses Asynq's scripts, because they may write
		}
		if f, known := broker.FindingOf(broker.Probe(ctx, i.redis).Err()); known && f.Code != domain.CodeRedisUnreachable {
			facts.Refused = &f
		}
	}
	facts.Queues, err = i.service(ctx)
	if facts.Queues != nil {
		i.last.Store(facts.Queues)
	}
	return facts, err
}

// Foreign returns the queues in which the last examination found only tasks of other programs.
func (i *Inspector) Foreign() []string {
	if last := i.last.Load(); last != nil {
		return last.Foreign
	}
	return nil
}

// Unserved returns the queues in which the last examination found waiting tasks, but which no worker served.
func (i *Inspector) Unserved() (names []string) {
	if last := i.last.Load(); last != nil {
		for _, w := range last.Unserved {
			names = append(names, w.Name)
		}
	}
	return names
}

func (i *Inspector) clock(ctx context.Context) (*thorough.Clock, error) {
	before := i.now()
	there, err := i.redis.Time(ctx).Result()
	switch {
	case broker.IsWithheld(err):
		return nil, nil //nolint:nilnil // unknown
	case err != nil:
		return nil, err
	}
	return &thorough.Clock{Before: before, There: there, After: i.now()}, nil
}
