package inspect

import (
	"context"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

const inspectPatience = 5 * time.Second

// Inspector is the domain.Examiner of the Redis in use: how it is set up, how it
// does, and whether its queues are served.
type Inspector struct {
	redis     redis.UniversalClient
	asynq     *asynq.Inspector
	inProcess bool
	known     Known // nil: all tasks are this database's
	now       func() time.Time
}

// NewInspector returns an Inspector. inProcess says that
// Redis is the one inside an outboxd process, which has no settings to be read.
// now is this machine's clock.
func NewInspector(r *broker.Redis, inProcess bool, now func() time.Time) *Inspector {
	return &Inspector{redis: r.Client(), asynq: r.Inspector(), inProcess: inProcess, now: now}
}

// OnlyOurs leaves findings out that are about the tasks of others on the same
// Redis: of another database's outboxd, or of whoever uses Asynq without it. It
// must be called before the first use.
func (i *Inspector) OnlyOurs(known Known) { i.known = known }

var _ domain.Examiner = (*Inspector)(nil)

// Examine implements domain.Examiner.
func (i *Inspector) Examine(ctx context.Context) ([]domain.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	found, err := i.examine(ctx)
	if err != nil {
		return nil, broker.Unavailable("examine Redis", err)
	}
	domain.SortFindings(found)
	return found, nil
}

func (i *Inspector) examine(ctx context.Context) (found []domain.Finding, err error) {
	if i.inProcess {
		found = append(found, redisInProcess)
	} else {
		settings, err := readSettings(ctx, i.redis)
		if err != nil {
			return nil, err
		}
		condition, err := readCondition(ctx, i.redis)
		if err != nil {
			return nil, err
		}
		found = append(settings.findings(), condition.findings()...)
		clock, err := i.clock(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, clock...)
		if condition.role() != nil {
			return found, nil // Asynq's questions write
		}
		if f, known := broker.FindingOf(broker.Probe(ctx, i.redis).Err()); known && !slices.ContainsFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }) {
			found = append(found, f)
		}
	}
	service, err := i.service(ctx)
	return append(found, service...), err
}

func (i *Inspector) clock(ctx context.Context) ([]domain.Finding, error) {
	before := i.now()
	there, err := i.redis.Time(ctx).Result()
	if err != nil {
		if broker.IsWithheld(err) {
			return nil, nil
		}
		return nil, err
	}
	return domain.ClockFinding("redis-clock", "Redis's", before, there, i.now()), nil
}
