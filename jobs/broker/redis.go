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

// How long one exchange with Redis may take. A relay that learns of an outage
// early keeps its events unlocked; a worker can wait.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
)

// ParseURL reads a Redis URL: redis://, rediss://, redis-socket:// or
// redis-sentinel://, as Asynq takes them, and with a user name, which Asynq's
// own reading drops. Errors: domain.CodeInvalid; they do not repeat the URL,
// which may hold a password.
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

// Redis is the handle for Redis. A process opens one, and hands it to whatever
// publishes, works or looks. It is safe for concurrent use.
type Redis struct {
	options asynq.RedisConnOpt
	client  redis.UniversalClient
}

// Open returns the handle for the Redis at a URL; see ParseURL. It does not
// connect. Up to that many exchanges run at the same time, not counting those of
// a worker. Errors: domain.CodeInvalid.
func Open(address string, connections int) (*Redis, error) {
	options, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	return New(options, connections)
}

// New is Open for what ParseURL returned.
func New(options asynq.RedisConnOpt, connections int) (*Redis, error) {
	client, err := newClient(options, withoutRepeats(connections))
	if err != nil {
		return nil, err
	}
	return &Redis{options, client}, nil
}

// Close closes the connections. Whatever was given the handle must have ended.
func (r *Redis) Close() error { return r.client.Close() }

// Client is what all share who ask Redis once and want to know. go-redis's
// retries are off: a command that got no answer may have been carried out, and
// who repeats it has to know that.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Inspector is Asynq's, over the shared connections. It takes no context; the
// client's own limits bound it.
func (r *Redis) Inspector() *asynq.Inspector { return asynq.NewInspectorFromRedisClient(r.client) }

// NewWorkingClient returns a client for Asynq's server, with connections of its
// own. It does not connect. Asynq asks again at once when its question failed,
// so the pauses between go-redis's retries are what keeps a worker from spinning
// during an outage.
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

// ownConnections is how many connections each client of MakeRedisClient has.
const ownConnections = 10

// MakeRedisClient implements asynq.RedisConnOpt, for Asynqmon, which closes what
// it is given.
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
	// A greeting that only one vendor's servers know, and every other refuses.
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

// BridgeLog sends the log of go-redis, which has one for the whole process,
// to logger. What it reports is also returned as an error to whoever called, so
// it is debug here.
func BridgeLog(logger *slog.Logger) {
	redis.SetLogger(redisLog{logger.With("component", "go-redis")})
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	if l.Enabled(ctx, slog.LevelDebug) {
		l.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}
