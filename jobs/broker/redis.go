package broker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"outboxd/domain/smallfile"
)

// dialTimeout and readTimeout limit one exchange with Redis. A relay must notice an outage
// soon, because its events are locked until then. A worker can wait longer: its client
// repeats failed commands (see NewWorkingClient).
const (
	dialTimeout = 2 * time.Second
	readTimeout = 3 * time.Second
)

// Options say where a Redis is, and with which user, password and TLS files to connect.
type Options struct {
	URL string // see ParseURL
	// Username replaces the user name of the URL, and the password in PasswordFile replaces
	// that of the URL. "": the URL's is used.
	Username     string
	PasswordFile smallfile.Secret
	// The user and the password for Sentinels. If they have no password, Sentinels get the
	// user and the password of the data servers.
	SentinelUsername, SentinelPassword string
	SentinelPasswordFile               smallfile.Secret
	TLS                                TLS // for URLs that begin with rediss
	// Patience is for outboxd's commands: how long one exchange waits for an answer, at most 3 s. If no answer
	// comes in that time, further exchanges fail at once for the next two seconds. 0 is for relays, workers and
	// other long-running processes: every exchange waits up to 3 s.
	Patience time.Duration
}

// Redis is the handle for Redis. A process opens one handle and gives it to everything
// that uses Redis. It is safe for concurrent use.
type Redis struct {
	options         asynq.RedisConnOpt
	data, sentinels credentials
	dialer          *dialer
	client          redis.UniversalClient
	patience        time.Duration
}

// Open returns the handle for a Redis. Open does not connect, but reads the files once to find
// faults. connections is the largest number of exchanges with Redis at the same time, in a cluster
// with each node. It does not apply to Anew and to the clients of NewWorkingClient, NewDirectClient
// and MakeRedisClient. Errors: domain.CodeInvalid.
func Open(o Options, connections int) (*Redis, error) {
	options, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	return open(options, o, connections)
}

// New returns the handle for a Redis. options come from ParseURL.
func New(options asynq.RedisConnOpt, connections int) (*Redis, error) {
	return open(options, Options{}, connections)
}

func open(options asynq.RedisConnOpt, o Options, connections int) (*Redis, error) {
	r := &Redis{options: options, patience: readTimeout}
	if o.Patience > 0 {
		r.patience = min(o.Patience, readTimeout)
	}
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
	if o.Patience > 0 {
		r.client.AddHook(&silence{})
	}
	return r, nil
}

// readFiles reads the files once, so that a wrong file name is reported at the start.
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

// Anew returns a handle for the same Redis that shares no connection with r. It does not connect. The caller
// closes it.
func (r *Redis) Anew() *Redis {
	anew := *r
	anew.client = r.newClient(withoutRepeats(1))
	return &anew
}

// Close closes the connections. Call Close only when nothing uses the handle any more.
func (r *Redis) Close() error { return r.client.Close() }

// Client returns the shared client. Retries by go-redis are off: Redis may have executed
// a command that got no reply, and the caller must decide whether to repeat it.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Inspector returns Asynq's inspector, which uses the shared connections. The methods of
// the inspector take no context; the timeouts of the client limit them.
func (r *Redis) Inspector() *asynq.Inspector { return asynq.NewInspectorFromRedisClient(r.client) }

// NewWorkingClient returns a client for Asynq's server, with its own connections. It does
// not connect. Asynq repeats a failed command at once. So go-redis's retries must pause:
// otherwise a worker would repeat commands without a pause during an outage.
func (r *Redis) NewWorkingClient(connections int) redis.UniversalClient {
	return r.newClient(redis.UniversalOptions{
		PoolSize: connections, MaxRetries: 3, MinRetryBackoff: 100 * time.Millisecond, MaxRetryBackoff: time.Second,
	})
}

// NewDirectClient returns a client with its own connections and without retries, for callers
// that wait in Redis or decide themselves whether to repeat a command. It does not connect.
func (r *Redis) NewDirectClient(connections int) redis.UniversalClient {
	return r.newClient(withoutRepeats(connections))
}

var _ asynq.RedisConnOpt = (*Redis)(nil)

// ownConnections is the number of connections of a client that MakeRedisClient returns.
const ownConnections = 10

// MakeRedisClient implements asynq.RedisConnOpt. Each call returns a new client, because
// Asynqmon closes its client.
func (r *Redis) MakeRedisClient() any {
	return r.newClient(withoutRepeats(ownConnections))
}

func withoutRepeats(connections int) redis.UniversalOptions {
	return redis.UniversalOptions{PoolSize: connections, MaxRetries: -1, DialerRetries: 1}
}

func (r *Redis) newClient(u redis.UniversalOptions) redis.UniversalClient {
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.ContextTimeoutEnabled = min(dialTimeout, r.patience), r.patience, r.patience, true
	// Maintenance notifications are off: go-redis would ask for them in its greeting, but
	// only one vendor's servers know that command, and all others refuse it.
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

// BridgeLog writes the log of go-redis to logger, for the whole process. BridgeLog logs
// at debug level, because callers also get the errors as return values.
func BridgeLog(logger *slog.Logger) {
	redis.SetLogger(redisLog{logger.With("component", "go-redis")})
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	if l.Enabled(ctx, slog.LevelDebug) {
		l.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}
