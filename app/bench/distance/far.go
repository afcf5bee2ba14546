package distance

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Postgres puts a proxy in front of the server that the pool is connected to and
// returns the URL through it. An encrypted connection stays encrypted from end
// to end, but the server's name cannot be verified.
func Postgres(ctx context.Context, pool *pgxpool.Pool, oneWay time.Duration, observe func() (requests, replies io.WriteCloser)) (*Proxy, string, error) {
	server, encrypted, err := Server(ctx, pool)
	if err != nil {
		return nil, "", err
	}
	config := pool.Config().ConnConfig
	proxy, err := NewProxy(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, server.Network(), server.String())
	}, oneWay, observe)
	if err != nil {
		return nil, "", err
	}
	query := url.Values{"sslmode": {"disable"}}
	if encrypted {
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

// Server returns the address of the PostgreSQL that the pool uses, and whether its
// connections are encrypted. The pool's URL alone does not say this: the URL may
// name several servers, and may leave open whether to encrypt.
func Server(ctx context.Context, pool *pgxpool.Pool) (address net.Addr, encrypted bool, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Release()
	socket := conn.Conn().PgConn().Conn()
	_, encrypted = socket.(*tls.Conn)
	return socket.RemoteAddr(), encrypted, nil
}

// Redis puts a proxy in front of a Redis, and returns the proxy's address as a URL
// and as options.
func Redis(opt asynq.RedisConnOpt, oneWay time.Duration) (*Proxy, string, asynq.RedisConnOpt, error) {
	o, ok := opt.(asynq.RedisClientOpt)
	if !ok {
		return nil, "", nil, fmt.Errorf("a delaying proxy needs a Redis URL that names one server, not a %T", opt)
	}
	network, target := o.Network, o.Addr
	if network == "" {
		network = "tcp"
	}
	proxy, err := NewProxy(func(ctx context.Context) (net.Conn, error) {
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
		// The certificate names the server and not the proxy, so verify it against
		// the server's name.
		o.TLSConfig = o.TLSConfig.Clone()
		if host, _, err := net.SplitHostPort(target); err == nil && o.TLSConfig.ServerName == "" {
			o.TLSConfig.ServerName = host
		}
	}
	return proxy, through.String(), o, nil
}
