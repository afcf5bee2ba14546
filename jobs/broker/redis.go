package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"outboxd/domain"
)

// How long one exchange with Redis may take. A relay must notice an outage
// early, because its events are locked meanwhile; a worker can wait.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
)

// ParseURL reads a Redis URL in the forms that Asynq knows: redis://,
// rediss://, redis-socket:// or redis-sentinel://. Unlike Asynq's own parser it
// keeps the user name. Errors: domain.CodeInvalid; they do not repeat the URL,
// which may contain a password.
func ParseURL(address string) (asynq.RedisConnOpt, error) {
	opt, err := asynq.ParseRedisURI(address)
	parsed, unparsed := url.Parse(address)
	if err != nil || unparsed != nil {
		return nil, domain.Errorf(domain.CodeInvalid,
			"the Redis URL cannot be read: it must look like redis://:password@host:6379/0, rediss://…, redis-socket:///path?db=0 or redis-sentinel://host:26379?master=name")
	}
	switch o := opt.(type) {
	case asynq.RedisClientOpt:
		o.Username = parsed.User.Username()
		return o, nil
	case asynq.RedisFailoverClientOpt:
		o.Username = parsed.User.Username()
		return o, nil
	default:
		return opt, nil
	}
}

// Redis is the handle for Redis. A process opens one and gives it to everything
// that uses Redis. It is safe for concurrent use.
type Redis struct {
	options asynq.RedisConnOpt
	client  redis.UniversalClient
}

// Open returns the handle for the Redis at a URL; see ParseURL. It does not
// connect. Up to connections exchanges run at the same time, not counting those
// of a worker. Errors: domain.CodeInvalid.
func Open(address string, connections int) (*Redis, error) {
	options, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	return New(options, connections)
}

// New is Open with the result of ParseURL.
func New(options asynq.RedisConnOpt, connections int) (*Redis, error) {
	client, err := newClient(options, withoutRepeats(connections))
	if err != nil {
		return nil, err
	}
	return &Redis{options, client}, nil
}

// Close closes the connections. Everything that uses the handle must have
// ended.
func (r *Redis) Close() error { return r.client.Close() }

// Client returns the shared client. go-redis's retries are off: a command
// without an answer may have been executed, and the caller must decide whether
// to repeat it.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Inspector returns Asynq's inspector over the shared connections. Its methods
// take no context; the client's timeouts bound them.
func (r *Redis) Inspector() *asynq.Inspector { return asynq.NewInspectorFromRedisClient(r.client) }

// NewWorkingClient returns a client for Asynq's server, with connections of its
// own. It does not connect. Asynq repeats a failed command at once, so only the
// pauses between go-redis's retries keep a worker from spinning during an
// outage.
func (r *Redis) NewWorkingClient(connections int) (redis.UniversalClient, error) {
	return newClient(r.options, redis.UniversalOptions{
		PoolSize: connections, MaxRetries: 3, MinRetryBackoff: 100 * time.Millisecond, MaxRetryBackoff: time.Second,
	})
}

// NewDirectClient returns a client with connections of its own, which repeats nothing
// by itself, for taking and finishing tasks. It does not connect.
func (r *Redis) NewDirectClient(connections int) (redis.UniversalClient, error) {
	return newClient(r.options, withoutRepeats(connections))
}

var _ asynq.RedisConnOpt = (*Redis)(nil)

// ownConnections is the number of connections of each client of
// MakeRedisClient.
const ownConnections = 10

// MakeRedisClient implements asynq.RedisConnOpt. It returns a new client,
// because Asynqmon closes its client.
func (r *Redis) MakeRedisClient() any {
	client, err := newClient(r.options, withoutRepeats(ownConnections))
	if err != nil {
		panic(err) // Open had the same options
	}
	return client
}

func withoutRepeats(connections int) redis.UniversalOptions {
	return redis.UniversalOptions{PoolSize: connections, MaxRetries: -1, DialerRetries: 1}
}

func newClient(opt asynq.RedisConnOpt, u redis.UniversalOptions) (redis.UniversalClient, error) {
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.ContextTimeoutEnabled = dialTimeout, readTimeout, readTimeout, true
	// Off, because only one vendor's servers know this greeting, and all others
	// refuse it.
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch o := opt.(type) {
	case asynq.RedisClientOpt:
		u.Addrs, u.Username, u.Password, u.DB, u.TLSConfig = []string{o.Addr}, o.Username, o.Password, o.DB, o.TLSConfig
		simple := u.Simple()
		simple.Network = o.Network
		return guarded(redis.NewClient(simple)), nil
	case asynq.RedisFailoverClientOpt:
		u.MasterName, u.Addrs, u.SentinelUsername, u.SentinelPassword = o.MasterName, o.SentinelAddrs, o.SentinelUsername, o.SentinelPassword
		u.Username, u.Password, u.DB, u.TLSConfig = o.Username, o.Password, o.DB, o.TLSConfig
		return guarded(redis.NewFailoverClient(u.Failover())), nil
	default:
		return nil, fmt.Errorf("no Redis client for %T", opt)
	}
}

// BridgeLog sends the log of go-redis, which is one for the whole process, to
// logger. Callers also get its errors, so it logs at debug level.
func BridgeLog(logger *slog.Logger) {
	redis.SetLogger(redisLog{logger.With("component", "go-redis")})
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	if l.Enabled(ctx, slog.LevelDebug) {
		l.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}
