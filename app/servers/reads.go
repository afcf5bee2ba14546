package servers

import (
	"context"
	"log/slog"

	"outboxd/config"
	"outboxd/domain/smallfile"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
)

// readConnections is how many connections to the standby a process opens at most.
const readConnections = 4

// NewReads returns the reads for pages and commands. The reads go to the standby that
// the configuration names while it can be used, and otherwise to db. NewReads does not
// connect.
func NewReads(cfg *config.Config, db *postgres.Database, log *slog.Logger) *reading.Reads {
	if cfg.Database.ReadURL == "" {
		return reading.New(db, nil, log)
	}
	return reading.New(db, func(ctx context.Context) (*postgres.Database, error) {
		return postgres.Open(ctx, postgres.Options{
			URL: string(cfg.Database.ReadURL), PasswordFile: smallfile.Secret(cfg.Database.PasswordFile), Schema: cfg.Database.Schema,
			MaxConns: readConnections, ExecMode: cfg.Database.ExecMode, ConnectTimeout: cfg.Database.ConnectTimeout, Logger: log,
		})
	}, log)
}
