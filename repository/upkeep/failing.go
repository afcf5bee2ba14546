package upkeep

import (
	"context"

	"outboxd/repository/postgres"
)

const (
	failingSQL = `INSERT INTO outbox_failing (work, error) VALUES ($1, $2) ON CONFLICT (work) DO UPDATE SET error = excluded.error`
	worksSQL   = `DELETE FROM outbox_failing WHERE work = $1 OR $1 = ''`
)

// Failing implements domain.Housekeeping.
func (h *Housekeeping) Failing(ctx context.Context, work string, cause error) (err error) {
	switch {
	case cause == nil:
		_, err = h.db.Pool().Exec(ctx, worksSQL, work)
	case postgres.SQLState(cause) != "" && postgres.SQLState(cause) != "55P03": // after a lock timeout the next round tries again
		_, err = h.db.Pool().Exec(ctx, failingSQL, work, h.db.ErrorText(cause))
	}
	return postgres.Translate(err, "record what fails")
}
