package jobs

import (
	"context"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

const inspectPatience = 5 * time.Second

// Inspector is the domain.Examiner of the Redis in use: how it is set up, how it
// does, and whether its queues are served.
type Inspector struct {
	redis     redis.UniversalClient
	asynq     *asynq.Inspector
	inProcess bool
	now       func() time.Time
}

// NewInspector returns an Inspector. It does not connect. inProcess says that
// Redis is the one inside an outboxd process, which has no settings to be read.
// now is this machine's clock.
func NewInspector(opt asynq.RedisConnOpt, inProcess bool, now func() time.Time) (*Inspector, error) {
	client, err := NewRedis(opt, 1)
	if err != nil {
		return nil, err
	}
	return &Inspector{redis: client, asynq: asynq.NewInspectorFromRedisClient(client), inProcess: inProcess, now: now}, nil
}

var _ domain.Examiner = (*Inspector)(nil)

// Close closes the connection.
func (i *Inspector) Close() error { return i.redis.Close() }

// Examine implements domain.Examiner.
func (i *Inspector) Examine(ctx context.Context) ([]domain.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	found, err := i.examine(ctx)
	if err != nil {
		return nil, unavailable(err)
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
		if f, known := impedimentOf(probe(ctx, i.redis).Err()); known && !slices.ContainsFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }) {
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
		if isWithheld(err) {
			return nil, nil
		}
		return nil, err
	}
	return domain.ClockFinding("redis-clock", "Redis's", before, there, i.now()), nil
}
