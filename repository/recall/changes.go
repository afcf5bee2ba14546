package recall

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Changes implements domain.EventChanges.
type Changes struct{ db *postgres.Database }

// New returns the Changes of db.
func New(db *postgres.Database) *Changes { return &Changes{db: db} }

var _ domain.EventChanges = (*Changes)(nil)

// cancelSQL, eraseSQL and rescheduleSQL change the events one after another in the order
// of their IDs, so that two callers with the same events do not deadlock.
const (
	cancelSQL = `
SELECT id, outbox_cancel(id, $2, $3) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
	eraseSQL = `
SELECT id, outbox_erase(id, $2, $3) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
	rescheduleSQL = `
SELECT id, outbox_reschedule(id, $4, $2, $3) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
)

// Cancel implements domain.EventChanges.
func (c *Changes) Cancel(ctx context.Context, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
	return c.change(ctx, "cancel", action, domain.ChangeCancelled, cancelSQL, c.args(action, ids)...)
}

// Reschedule implements domain.EventChanges.
func (c *Changes) Reschedule(ctx context.Context, action *domain.Action, ids []domain.ID, due time.Time) ([]domain.Change, error) {
	return c.change(ctx, "reschedule", action, domain.ChangeRescheduled, rescheduleSQL, append(c.args(action, ids), due)...)
}

// Erase implements domain.EventChanges.
func (c *Changes) Erase(ctx context.Context, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
	return c.change(ctx, "erase", action, domain.ChangeErased, eraseSQL, c.args(action, ids)...)
}

// Tasks implements domain.EventChanges.
func (c *Changes) Tasks(ctx context.Context, ids []domain.ID) ([]domain.Event, error) {
	const doing = "look for the tasks of changed events"
	rows, err := c.db.Pool().Query(ctx, "SELECT event_id, queue, generation FROM outbox_tasks_of($1)", postgres.UUIDs(ids))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e domain.Event, err error) {
		err = row.Scan((*[16]byte)(&e.ID), &e.Queue, &e.Generation)
		return e, err
	})
	return events, postgres.Translate(err, doing)
}

func (c *Changes) args(action *domain.Action, ids []domain.ID) []any {
	return []any{postgres.UUIDs(ids), c.db.Storable(action.Actor), c.db.Storable(action.Reason)}
}

func (c *Changes) change(ctx context.Context, kind string, action *domain.Action, done domain.ChangeAnswer, statement string, args ...any) (changes []domain.Change, err error) {
	err = stored.Act(ctx, c.db, kind, action, func(tx pgx.Tx) (int64, error) {
		rows, err := tx.Query(ctx, statement, args...)
		if err != nil {
			return 0, err
		}
		var changed int64
		changes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ch domain.Change, err error) {
			err = row.Scan((*[16]byte)(&ch.ID), &ch.Answer)
			if ch.Answer == done {
				changed++
			}
			return ch, err
		})
		return changed, err
	})
	if err != nil {
		return nil, postgres.Translate(err, kind+" events")
	}
	return changes, nil
}
