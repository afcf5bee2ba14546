package env

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"outboxd/app/bench/result"
)

// NewReport returns a report that has only its name and environment.
func (e *Env) NewReport(ctx context.Context, name string) (*result.Report, error) {
	environment, err := e.Environment(ctx)
	if err != nil {
		return nil, err
	}
	return &result.Report{Bench: name, Environment: environment, Ratios: map[string]float64{}}, nil
}

// The settings that the figures depend on.
const postgresSQL = `
SELECT current_setting('server_version'),
       (SELECT string_agg(name || '=' || current_setting(name), ' ' ORDER BY name) FROM pg_settings
        WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'wal_level'))`

// Environment describes what the results depend on most: versions, the number of
// processors, and the settings of outboxd, PostgreSQL and Redis that matter here.
func (e *Env) Environment(ctx context.Context) (map[string]string, error) {
	c := e.Config.Relay
	environment := map[string]string{
		"outboxd": e.version, "go": runtime.Version(),
		"os": runtime.GOOS + "/" + runtime.GOARCH, "cpus": strconv.Itoa(runtime.NumCPU()),
		"relay_concurrency": strconv.Itoa(c.Concurrency), "relay_batch_size": strconv.Itoa(c.BatchSize), "relay_history": c.History.String(),
	}
	var version, settings string
	if err := e.Admin.QueryRow(ctx, postgresSQL).Scan(&version, &settings); err != nil {
		return nil, fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	environment["postgresql"], environment["postgresql_settings"] = version, settings
	info, err := e.Redis.Info(ctx, "server").Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis for its version: %w", err)
	}
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); found {
			environment["redis"] = value
		}
	}
	// A managed Redis may refuse this command.
	if settings, err := e.Redis.ConfigGet(ctx, "append*").Result(); err == nil {
		environment["redis_settings"] = fmt.Sprintf("appendonly=%s appendfsync=%s", settings["appendonly"], settings["appendfsync"])
	}
	return environment, nil
}
