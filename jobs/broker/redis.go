package broker

import (
	"context"
	"fmt"
	"log/slog"
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

// Options say where a Redis is, and who comes.
type Options struct {
	URL string // see ParseURL
	// Username replaces the one of the URL, and the file has the password in place
	// of the URL's. "": those of the URL.
	Username     string
	PasswordFile domain.SecretFile
	// The user and the password for Sentinels. If there is no password, those of the data.
	SentinelUsername, SentinelPassword string
	SentinelPasswordFile               domain.SecretFile
	TLS                                TLS // for URLs that begin with rediss
}

// Redis is the handle for Redis. A process opens one and gives it to everything
// that uses Redis. It is safe for concurrent use.
type Redis struct {
	options         asynq.RedisConnOpt
	data, sentinels credentials
	dialer          *dialer
	client          redis.UniversalClient
}

// Open returns the handle for a Redis. It does not connect, but reads the files
// once. Up to connections exchanges run at the same time, not counting those
// of a worker; in a cluster, with each node. Errors: domain.CodeInvalid.
func Open(o Options, connections int) (*Redis, error) {
	options, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	return open(options, o, connections)
}

// New returns the handle for a Redis that ParseURL's result names.
func New(options asynq.RedisConnOpt, connections int) (*Redis, error) {
	return open(options, Options{}, connections)
}

func open(options asynq.RedisConnOpt, o Options, connections int) (*Redis, error) {
	r := &Redis{options: options}
	var secured bool
	switch is := options.(type) {
	case asynq.RedisClientOpt:
		r.data, secured = credentials{username: is.Username, password: is.Password}, is.TLSConfig != nil
	case asynq.RedisFailoverClientOpt:
		r.data, secured = credentials{username: is.Username, password: is.Password}, is.TLSConfig != nil
	case asynq.RedisClusterClientOpt:
		r.data, secured = credentials{username: is.Username, password: is.Password}, is.TLSConfig != nil
	default:
		return nil, fmt.Errorf("no Redis client for %T", options)
	}
	if o.Username != "" {
		r.data.username = o.Username
	}
	r.data.file = o.PasswordFile
	r.sentinels = r.data
	if o.SentinelPassword != "" || o.SentinelPasswordFile != "" {
		r.sentinels = credentials{o.SentinelUsername, o.SentinelPassword, o.SentinelPasswordFile}
	}
	r.dialer = newDialer(secured, o.TLS)
	if err := r.readFiles(); err != nil {
		return nil, err
	}
	r.client = r.newClient(withoutRepeats(connections))
	return r, nil
}

// readFiles looks whether the files can be read, so that a wrong name shows at the start.
func (r *Redis) readFiles() error {
	for _, c := range []credentials{r.data, r.sentinels} {
		if _, _, err := c.read(); err != nil {
			return err
		}
	}
	if r.dialer.secured {
		if _, err := r.dialer.tls.config(""); err != nil {
			return err
		}
	}
	return nil
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
func (r *Redis) NewWorkingClient(connections int) redis.UniversalClient {
	return r.newClient(redis.UniversalOptions{
		PoolSize: connections, MaxRetries: 3, MinRetryBackoff: 100 * time.Millisecond, MaxRetryBackoff: time.Second,
	})
}

// NewDirectClient returns a client with connections of its own, which repeats nothing
// by itself, for taking and finishing tasks. It does not connect.
func (r *Redis) NewDirectClient(connections int) redis.UniversalClient {
	return r.newClient(withoutRepeats(connections))
}

var _ asynq.RedisConnOpt = (*Redis)(nil)

// ownConnections is the number of connections of each client of
// MakeRedisClient.
const ownConnections = 10

// MakeRedisClient implements asynq.RedisConnOpt. It returns a new client,
// because Asynqmon closes its client.
func (r *Redis) MakeRedisClient() any {
	return r.newClient(withoutRepeats(ownConnections))
}

func withoutRepeats(connections int) redis.UniversalOptions {
	return redis.UniversalOptions{PoolSize: connections, MaxRetries: -1, DialerRetries: 1}
}

func (r *Redis) newClient(u redis.UniversalOptions) redis.UniversalClient {
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.ContextTimeoutEnabled = dialTimeout, readTimeout, readTimeout, true
	// Off, because only one vendor's servers know this greeting, and all others
	// refuse it.
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	u.Dialer, u.CredentialsProviderContext = r.dialer.dial, r.data.provide
	switch o := r.options.(type) {
	case asynq.RedisFailoverClientOpt:
		u.MasterName, u.Addrs, u.DB, u.OnConnect = o.MasterName, o.SentinelAddrs, o.DB, r.sentinels.introduce
		return guarded(redis.NewFailoverClient(u.Failover()))
	case asynq.RedisClusterClientOpt:
		u.Addrs = o.Addrs
		return newCluster(u)
	default:
		simple, _ := r.options.(asynq.RedisClientOpt) // open took no other
		u.Addrs, u.DB = []string{simple.Addr}, simple.DB
		one := u.Simple()
		one.Network = simple.Network
		return guarded(redis.NewClient(one))
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
