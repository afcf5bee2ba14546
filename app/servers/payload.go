package servers

import (
	"context"
	"fmt"
	"log/slog"

	"outboxd/config"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// LimitPayload sets the outbox's payload limit to the configured one, and
// reports whether it changed. A process without a configured limit leaves it
// alone, so that processes do not undo each other's change.
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
