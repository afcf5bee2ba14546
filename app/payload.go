package app

import (
	"context"
	"fmt"
	"log/slog"

	"outboxd/config"
	"outboxd/migrations"
	"outboxd/repository"
)

// limitPayload brings the outbox's payload limit in line with the configuration
// and reports whether that changed anything. A process whose configuration does
// not name a limit leaves it alone, or processes would undo each other's.
func limitPayload(ctx context.Context, cfg *config.Config, db *repository.Database, log *slog.Logger) (bool, error) {
	if cfg.Relay.MaxPayload == 0 {
		return false, nil
	}
	changed, err := migrations.LimitPayload(ctx, db.SQL(), int(cfg.Relay.MaxPayload), log.With("component", "migrations"))
	if err != nil {
		return false, fmt.Errorf("%w (--relay-max-payload, OUTBOXD_RELAY_MAX_PAYLOAD or relay.max_payload asks for it)", err)
	}
	return changed, nil
}

// comparePayloadLimit warns where a process that may not change the schema is
// configured for another limit.
func (d *Daemon) comparePayloadLimit(ctx context.Context) error {
	if d.cfg.Relay.MaxPayload == 0 {
		return nil
	}
	limit, err := migrations.PayloadLimit(ctx, d.database.SQL())
	if err == nil && limit != int(d.cfg.Relay.MaxPayload) {
		d.log.Warn("the outbox has another payload limit than is configured; run outboxd migrate up with this configuration",
			"configured", d.cfg.Relay.MaxPayload, "in_force", config.Size(limit))
	}
	return err
}
