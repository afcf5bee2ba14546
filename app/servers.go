package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/embedded"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/repository"
)

// serversPatience bounds stopping the embedded servers.
const serversPatience = 20 * time.Second

// servers are the addresses of PostgreSQL and Redis: configured ones or, where
// nothing is configured and a role needs it, embedded ones.
type servers struct {
	databaseURL, redisURL string // empty: no role needs it
	embedded              *embedded.Servers
}

func needsDatabase(cfg *config.Config) bool {
	return len(cfg.Roles) > 0 // every role reads or writes events
}

func needsRedis(cfg *config.Config) bool {
	return cfg.HasRole(config.RoleRelay) || cfg.HasRole(config.RoleWorker) || cfg.HasRole(config.RoleMonitor)
}

// startServers starts what is not configured elsewhere.
func startServers(ctx context.Context, cfg *config.Config, log *slog.Logger) (*servers, error) {
	s := &servers{databaseURL: string(cfg.Database.URL), redisURL: string(cfg.Redis.URL)}
	own := embedded.Options{
		Postgres:    s.databaseURL == "" && needsDatabase(cfg),
		Redis:       s.redisURL == "" && needsRedis(cfg),
		DataDir:     cfg.DataDir,
		PostgresBin: cfg.Embedded.PostgresBin,
		RedisServer: cfg.Embedded.RedisServer,
		Logger:      log.With("component", "embedded"),
	}
	if !own.Postgres && !own.Redis {
		return s, nil
	}
	var err error
	if own.DataDir, err = dataDir(cfg); err != nil {
		return nil, err
	}
	if s.embedded, err = embedded.Start(ctx, own); err != nil {
		return nil, fmt.Errorf("start the embedded servers: %w", err)
	}
	if own.Postgres {
		s.databaseURL = s.embedded.DatabaseURL()
	}
	if own.Redis {
		s.redisURL = s.embedded.RedisURL()
	}
	return s, nil
}

func (s *servers) close(ctx context.Context) error {
	if s.embedded == nil {
		return nil
	}
	if err := s.embedded.Close(ctx); err != nil {
		return fmt.Errorf("stop the embedded servers: %w", err)
	}
	return nil
}

// watch returns when an embedded server has died, or ctx ends.
func (s *servers) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.embedded.Failed():
		return fmt.Errorf("an embedded server failed: %w", err)
	}
}

func (s *servers) forgetful() bool { return s.embedded != nil && s.embedded.Forgetful() }

// requireData is an error where a PostgreSQL of outboxd's own is meant and none
// has ever run: a command would make a new one, and find that nothing is there.
func requireData(cfg *config.Config) error {
	if cfg.Database.URL != "" {
		return nil
	}
	dir, err := dataDir(cfg)
	if err != nil || embedded.HasPostgres(dir) {
		return err
	}
	return usageError{fmt.Errorf("no outboxd has run on the data directory %s: --data-dir names the one that it runs on, --database-url and --redis-url name servers of yours", dir)}
}

func dataDir(cfg *config.Config) (string, error) {
	if cfg.DataDir != "" {
		return filepath.Abs(cfg.DataDir)
	}
	dir, err := embedded.DefaultDataDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for data; name one with --data-dir: %w", err)
	}
	return dir, nil
}

func openDatabase(ctx context.Context, cfg *config.Config, url string, conns int, tracer pgx.QueryTracer, log *slog.Logger) (*repository.Database, error) {
	db, err := repository.Open(ctx, repository.Options{
		URL: url, MaxConns: conns, ExecMode: cfg.Database.ExecMode, ConnectTimeout: cfg.Database.ConnectTimeout, Tracer: tracer, Logger: log,
	})
	switch domain.ErrorCode(err) {
	case "":
		return db, nil
	case domain.CodeInvalid, domain.CodeUnavailable:
		return nil, fmt.Errorf("%w (--database-url, OUTBOXD_DATABASE_URL or database.url says where it is)", err)
	default:
		return nil, err
	}
}
