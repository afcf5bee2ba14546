package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// farPostgres puts a proxy in front of PostgreSQL and returns the URL through
// it. It makes no encrypted connection: encryption goes on end to end, but the
// server's name can no longer be verified.
func farPostgres(address string, oneWay time.Duration, observe func() (requests, replies io.WriteCloser)) (*distance, string, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, "", fmt.Errorf("the database URL cannot be read")
	}
	network, target := pgconn.NetworkAddress(config.Host, config.Port)
	proxy, err := newDistance(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}, oneWay, observe)
	if err != nil {
		return nil, "", err
	}
	query := url.Values{"sslmode": {"disable"}}
	if config.TLSConfig != nil {
		query.Set("sslmode", "require")
	}
	for name, value := range config.RuntimeParams {
		query.Set(name, value)
	}
	through := url.URL{
		Scheme: "postgres", User: url.UserPassword(config.User, config.Password), Host: proxy.Addr().String(), Path: "/" + config.Database,
		RawQuery: query.Encode(),
	}
	return proxy, through.String(), nil
}

// farRedis does the same for Redis.
func farRedis(opt asynq.RedisConnOpt, oneWay time.Duration) (*distance, string, asynq.RedisConnOpt, error) {
	o, ok := opt.(asynq.RedisClientOpt)
	if !ok {
		return nil, "", nil, fmt.Errorf("a delaying proxy needs a Redis URL that names one server, not a %T", opt)
	}
	network, target := o.Network, o.Addr
	if network == "" {
		network = "tcp"
	}
	proxy, err := newDistance(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}, oneWay, nil)
	if err != nil {
		return nil, "", nil, err
	}
	o.Network, o.Addr = "tcp", proxy.Addr().String()
	through := url.URL{Scheme: "redis", Host: o.Addr, Path: "/" + strconv.Itoa(o.DB)}
	if o.Username != "" || o.Password != "" {
		through.User = url.UserPassword(o.Username, o.Password)
	}
	if o.TLSConfig != nil {
		through.Scheme = "rediss"
		// The certificate names the server, not the proxy.
		o.TLSConfig = o.TLSConfig.Clone()
		if host, _, err := net.SplitHostPort(target); err == nil && o.TLSConfig.ServerName == "" {
			o.TLSConfig.ServerName = host
		}
	}
	return proxy, through.String(), o, nil
}
