package jobs

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// How long one exchange with Redis may take. A relay that learns of an outage
// early keeps its events unlocked; a worker can wait.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
)

// ParseRedis reads a Redis URL: redis://, rediss://, redis-socket:// or
// redis-sentinel://, as Asynq takes them. Errors: domain.CodeInvalid; they do
// not repeat the URL, which may hold a password.
func ParseRedis(url string) (asynq.RedisConnOpt, error) {
	opt, err := asynq.ParseRedisURI(url)
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid,
			"the Redis URL cannot be read: it must look like redis://:password@host:6379/0, rediss://…, redis-socket:///path?db=0 or redis-sentinel://host:26379?master=name")
	}
	return opt, nil
}

// NewRedis returns a client of its own for publishing. It does not connect.
// go-redis's retries are off: a command that got no answer may have been
// carried out, and who repeats it has to know that.
func NewRedis(opt asynq.RedisConnOpt, poolSize int) (redis.UniversalClient, error) {
	switch o := opt.(type) {
	case asynq.RedisClientOpt:
		return redis.NewClient(&redis.Options{
			Network: o.Network, Addr: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig,
			DialTimeout: dialTimeout, ReadTimeout: readTimeout, WriteTimeout: readTimeout,
			PoolSize: poolSize, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		}), nil
	case asynq.RedisFailoverClientOpt:
		return redis.NewFailoverClient(failoverOptions(o, poolSize)), nil
	default:
		return nil, fmt.Errorf("no Redis client for %T", opt)
	}
}

func failoverOptions(o asynq.RedisFailoverClientOpt, poolSize int) *redis.FailoverOptions {
	var config *tls.Config
	if o.TLSConfig != nil {
		config = o.TLSConfig.Clone()
	}
	return &redis.FailoverOptions{
		MasterName: o.MasterName, SentinelAddrs: o.SentinelAddrs, SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: config,
		DialTimeout: dialTimeout, ReadTimeout: readTimeout, WriteTimeout: readTimeout,
		PoolSize: poolSize, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
	}
}

// BridgeRedisLog sends the log of go-redis, which has one for the whole process,
// to logger. What it reports is also returned as an error to whoever called, so
// it is debug here.
func BridgeRedisLog(logger *slog.Logger) {
	redis.SetLogger(redisLog{logger.With("component", "go-redis")})
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	if l.Enabled(ctx, slog.LevelDebug) {
		l.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}
