package servers

import (
	"context"
	"fmt"
	"log/slog"

	"outboxd/config"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// LimitPayload sets the payload limit of the outbox in the database to the
// configured limit, and reports whether it changed. Without a configured limit the
// process leaves the outbox's limit as it is, so that processes do not undo each
// other's changes.
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
