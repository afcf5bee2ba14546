package jobs

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// How often an Inspector looks, which is how long a change or another server
// behind the same address goes unreported, and how often it tries while Redis
// cannot be reached.
const (
	inspectEvery    = time.Minute
	inspectAgain    = 5 * time.Second
	inspectPatience = 5 * time.Second
)

// Inspector watches how the Redis in use is set up, and says what endangers the
// queue. Its methods are safe for concurrent use.
type Inspector struct {
	redis     redis.UniversalClient
	inProcess bool
	log       *slog.Logger
	findings  atomic.Pointer[[]domain.Finding]
}

// NewInspector returns an Inspector. It does not connect. inProcess says that
// Redis is the one inside an outboxd process, which has no settings to be read.
func NewInspector(opt asynq.RedisConnOpt, inProcess bool, log *slog.Logger) (*Inspector, error) {
	client, err := NewRedis(opt, 1)
	if err != nil {
		return nil, err
	}
	return &Inspector{redis: client, inProcess: inProcess, log: log.With("component", "redis")}, nil
}

// Close closes the connection. Run must have returned.
func (i *Inspector) Close() error { return i.redis.Close() }

// Findings returns what the last look found; nothing before the first one.
func (i *Inspector) Findings() []domain.Finding {
	if found := i.findings.Load(); found != nil {
		return *found
	}
	return nil
}

// Run looks at once and then every minute, until ctx ends. It logs what is new
// and what is mended. A Redis that cannot be reached is waited for, and reported
// by those who need it.
func (i *Inspector) Run(ctx context.Context) error {
	for {
		pause := inspectEvery
		if err := i.look(ctx); err != nil {
			pause = inspectAgain
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (i *Inspector) look(ctx context.Context) error {
	found, err := i.Inspect(ctx)
	if err != nil {
		return err
	}
	before := i.Findings()
	i.findings.Store(&found)
	for _, f := range found {
		if slices.Contains(before, f) {
			continue
		}
		level := slog.LevelInfo
		if f.Level == domain.FindingWarning {
			level = slog.LevelWarn
		}
		i.log.Log(ctx, level, f.Found, "finding", f.Code, "consequence", f.Consequence, "remedy", f.Remedy)
	}
	for _, f := range before {
		if !slices.ContainsFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }) {
			i.log.InfoContext(ctx, "this is no longer so: "+f.Found, "finding", f.Code)
		}
	}
	return nil
}

// Inspect looks once and returns everything that it found, the worst first.
//
// Errors: domain.CodeUnavailable.
func (i *Inspector) Inspect(ctx context.Context) ([]domain.Finding, error) {
	if i.inProcess {
		return []domain.Finding{redisInProcess}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	settings, err := readSettings(ctx, i.redis)
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "the queue is unavailable")
	}
	return settings.findings(), nil
}
