package registration

import (
	"context"
	"log/slog"
	"time"

	example "outboxd/domain/registration"
)

// How often TrimKeys deletes old keys, and how many keys one statement deletes.
const (
	trimEvery = 10 * time.Minute
	trimBatch = 10_000
)

// TrimKeys returns an actor that deletes idempotency keys once they are older
// than age. The actor blocks until its context ends. Several processes may run it
// at the same time.
func TrimKeys(users example.UserStore, age time.Duration, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(trimEvery)
		defer tick.Stop()
		for {
			total := int64(0)
			for n := int64(trimBatch); n == trimBatch; total += n {
				var err error
				if n, err = users.TrimKeys(ctx, age, trimBatch); err != nil && ctx.Err() == nil {
					logger.WarnContext(ctx, "could not delete old idempotency keys", "retry_in", trimEvery, "error", err)
				}
			}
			if total > 0 {
				logger.InfoContext(ctx, "deleted old idempotency keys", "rows", total)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}
