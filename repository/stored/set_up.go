package stored

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
)

// SetUp is a table of what people set up and pause by name: subscriptions or
// schedules.
type SetUp struct {
	Table string
	Noun  string // such as "subscription"
	There string // the condition of rows that count, such as "removed_at IS NULL"
}

// PauseSQL stops a row. Its parameters are the name, by whom and why. If the row is
// already paused, pausing it again changes nothing.
func (t SetUp) PauseSQL() string {
	return `
UPDATE ` + t.Table + ` SET paused_at = coalesce(paused_at, clock_timestamp()), paused_by = CASE WHEN paused_at IS NULL THEN $2 ELSE paused_by END,
    pause_reason = CASE WHEN paused_at IS NULL THEN $3 ELSE pause_reason END
WHERE name = $1 AND ` + t.There
}

// ResumeSQL ends the pause of a row. Its parameter is the name.
func (t SetUp) ResumeSQL() string {
	return `UPDATE ` + t.Table + ` SET paused_at = NULL, paused_by = '', pause_reason = '' WHERE name = $1 AND ` + t.There
}

// Missing returns the error for a name that no subscription or schedule has. It has
// domain.CodeNotFound.
func (t SetUp) Missing(name string) error {
	return domain.Errorf(domain.CodeNotFound, "there is no %s %q", t.Noun, name)
}

// Change runs a statement on the row of that name, and records the action. The name is
// the first parameter. Errors: domain.CodeNotFound if the statement changes no row.
func (t SetUp) Change(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, name, statement string, args ...any) error {
	err := Act(ctx, d, kind, action, func(tx pgx.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, statement, append([]any{d.Storable(name)}, args...)...)
		if err == nil && tag.RowsAffected() == 0 {
			err = t.Missing(name)
		}
		return 0, err
	})
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return err
	}
	return postgres.Translate(err, fmt.Sprintf("%s a %s", kind, t.Noun))
}

// Applied reads what an INSERT … ON CONFLICT DO UPDATE … RETURNING xmax::text <> '0'
// did with one row.
func Applied(rows pgx.Rows) (setup.Applied, error) {
	there, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	switch {
	case err != nil:
		return "", err
	case len(there) == 0:
		return setup.AppliedUnchanged, nil
	case there[0]:
		return setup.AppliedChanged, nil
	}
	return setup.AppliedAdded, nil
}

// Paused returns the pause of a row, or nil if the row has no time since which it is
// paused.
func Paused(since *time.Time, by, reason string) *setup.Pause {
	if since == nil {
		return nil
	}
	return &setup.Pause{Since: *since, By: by, Reason: reason}
}
