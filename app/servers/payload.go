package servers

import (
	"context"
	"fmt"
	"log/slog"

	"outboxd/config"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// LimitPayload brings the outbox's payload limit in line with the configuration
// and reports whether that changed anything. A process whose configuration does
// not name a limit leaves it alone, or processes would undo each other's.
func LimitPayload(ctx context.Context, cfg *config.Config, db *postgres.Database, log *slog.Logger) (bool, error) {
	if cfg.Relay.MaxPayload == 0 {
		return false, nil
	}
	changed, err := migrations.LimitPayload(ctx, db.SQL(), int(cfg.Relay.MaxPayload), log.With("component", "migrations"))
	if err != nil {
		return false, fmt.Errorf("%w (--relay-max-payload, OUTBOXD_RELAY_MAX_PAYLOAD or relay.max_payload asks for it)", err)
	}
	return changed, nil
}
