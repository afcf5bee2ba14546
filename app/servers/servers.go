package servers

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/embedded"
	"outboxd/app/embedded/keeper"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/smallfile"
	"outboxd/jobs/broker"
	"outboxd/repository/postgres"
)

// patience is how long stopping the embedded servers may take.
const patience = 20 * time.Second

// Servers has the addresses of PostgreSQL and Redis. If an address is not
// configured and a role needs the server, it is the address of an embedded server.
type Servers struct {
	DatabaseURL string
	RedisURL    string // empty: no role needs it
	// Patience is how long a command waits for an answer of Redis; see broker.Options. Set it before OpenRedis. A
	// daemon leaves it 0.
	Patience time.Duration
	redis    config.Redis
	embedded *embedded.Servers
}

// NeedsRedis reports whether a role of this process uses Redis. Every role needs
// PostgreSQL, because every role reads or writes events.
func NeedsRedis(cfg *config.Config) bool {
	return cfg.HasRole(config.RoleRelay) || cfg.HasRole(config.RoleWorker) || cfg.HasRole(config.RoleMonitor)
}

// Start starts an embedded server for each URL that is needed and not configured.
// ctx bounds only the start.
func Start(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Servers, error) {
	s := &Servers{DatabaseURL: string(cfg.Database.URL), RedisURL: string(cfg.Redis.URL), redis: cfg.Redis}
	own := embedded.Options{
		Postgres:    s.DatabaseURL == "" && len(cfg.Databases) == 0,
		Redis:       s.RedisURL == "" && NeedsRedis(cfg),
		DataDir:     cfg.DataDir,
		PostgresBin: cfg.Embedded.PostgresBin,
		RedisServer: cfg.Embedded.RedisServer,
		Logger:      log.With("component", "embedded"),
	}
	if !own.Postgres && !own.Redis {
		return s, nil
	}
	var err error
	if own.DataDir, err = DataDir(cfg); err != nil {
		return nil, err
	}
	if s.embedded, err = embedded.Start(ctx, own); err != nil {
		return nil, fmt.Errorf("start the embedded servers: %w", err)
	}
	if own.Postgres {
		s.DatabaseURL = s.embedded.DatabaseURL()
	}
	if own.Redis {
		s.RedisURL = s.embedded.RedisURL()
	}
	return s, nil
}

// Close stops the embedded servers, even if ctx has ended. It fails if that takes
// longer than 20 seconds.
func (s *Servers) Close(ctx context.Context) error {
	if s.embedded == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := s.embedded.Close(ctx); err != nil {
		return fmt.Errorf("stop the embedded servers: %w", err)
	}
	return nil
}

// Embedded reports whether one of the servers is embedded.
func (s *Servers) Embedded() bool { return s.embedded != nil }

// Watch returns an error when an embedded server has died, or nil when ctx ends. Call
// it only if Embedded returns true.
func (s *Servers) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.embedded.Failed():
		return fmt.Errorf("an embedded server failed: %w", err)
	}
}

// Forgetful reports whether Redis is the in-process one, which loses its data when
// its process ends.
func (s *Servers) Forgetful() bool { return s.embedded != nil && s.embedded.Forgetful() }

// RequireData returns an error if the configuration uses an embedded PostgreSQL
// whose data directory does not exist yet. Otherwise a command that only reads
// would make a new, empty database.
func RequireData(cfg *config.Config) error {
	if cfg.Database.URL != "" || len(cfg.Databases) > 0 {
		return nil
	}
	dir, err := DataDir(cfg)
	if err != nil || embedded.HasPostgres(dir) {
		return err
	}
	return config.Mistake{Err: fmt.Errorf("no outboxd has run on the data directory %s: --data-dir names the one that it runs on, --database-url and --redis-url name servers of yours", dir)}
}

// DataDir returns the data directory: the configured one, or the user's
// default.
func DataDir(cfg *config.Config) (string, error) {
	if cfg.DataDir != "" {
		return filepath.Abs(cfg.DataDir)
	}
	dir, err := keeper.DefaultDataDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for data; name one with --data-dir: %w", err)
	}
	return dir, nil
}

// OpenRedis returns a handle for Redis, which opens at most the given number of connections. It does not connect.
func (s *Servers) OpenRedis(connections int) (*broker.Redis, error) {
	return broker.Open(broker.Options{
		URL:      s.RedisURL,
		Username: s.redis.Username, PasswordFile: smallfile.Secret(s.redis.PasswordFile),
		SentinelUsername: s.redis.SentinelUsername, SentinelPassword: string(s.redis.SentinelPassword),
		SentinelPasswordFile: smallfile.Secret(s.redis.SentinelPasswordFile),
		TLS:                  broker.TLS{CA: s.redis.TLSCA, Cert: s.redis.TLSCert, Key: s.redis.TLSKey, ServerName: s.redis.TLSServerName},
		Patience:             s.Patience,
	}, connections)
}

// OpenDatabase connects to the database at url, with at most conns connections; tracer may be nil.
func OpenDatabase(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger) (*postgres.Database, error) {
	return openDatabase(ctx, cfg, url, conns, tracer, log, "--database-url, OUTBOXD_DATABASE_URL or database.url says where it is")
}

// OpenSource is like OpenDatabase, for one of several databases.
func OpenSource(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger) (*postgres.Database, error) {
	return openDatabase(ctx, cfg, url, conns, tracer, log, "--databases, OUTBOXD_DATABASES or databases says where it is")
}

func openDatabase(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger, hint string) (*postgres.Database, error) {
	db, err := postgres.Open(ctx, postgres.Options{
		URL: url, PasswordFile: smallfile.Secret(cfg.Database.PasswordFile), Schema: cfg.Database.Schema, MaxConns: conns, ExecMode: cfg.Database.ExecMode, ConnectTimeout: cfg.Database.ConnectTimeout, Tracer: tracer, Logger: log,
	})
	switch domain.ErrorCode(err) {
	case "":
		return db, nil
	case domain.CodeInvalid, domain.CodeUnavailable:
		return nil, fmt.Errorf("%w (%s)", err, hint)
	default:
		return nil, err
	}
}
