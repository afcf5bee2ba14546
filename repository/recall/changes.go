package recall

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Changes implements domain.EventChanges and domain.ChangeRequests.
type Changes struct {
	db    *postgres.Database
	queue domain.RunningTasks // knows which tasks run; nil: nobody can be asked
}

// New returns the Changes of db. These Changes do not change an event if only Redis
// knows whether its task is running; see Asking.
func New(db *postgres.Database) *Changes { return &Changes{db: db} }

// Asking returns Changes that also change such events: they ask queue whether a task is
// running.
func (c *Changes) Asking(queue domain.RunningTasks) *Changes { return &Changes{c.db, queue} }

var _ domain.EventChanges = (*Changes)(nil)

// cancelSQL, eraseSQL and rescheduleSQL change the events one after another in the order
// of their IDs, so that two callers with the same events do not deadlock.
const (
	cancelSQL = `
SELECT id, outbox_cancel(id, $2, $3, id <> ALL ($4)) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
	eraseSQL = `
SELECT id, outbox_erase(id, $2, $3, id <> ALL ($4)) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
	rescheduleSQL = `
SELECT id, outbox_reschedule(id, $4, $2, $3, id <> ALL ($5)) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS chosen`
)

// Cancel implements domain.EventChanges.
func (c *Changes) Cancel(ctx context.Context, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
	return c.change(ctx, "cancel", action, ids, cancelSQL, c.args(action, ids)...)
}

// Reschedule implements domain.EventChanges.
func (c *Changes) Reschedule(ctx context.Context, action *domain.Action, ids []domain.ID, due time.Time) ([]domain.Change, error) {
	return c.change(ctx, "reschedule", action, ids, rescheduleSQL, append(c.args(action, ids), due)...)
}

// Erase implements domain.EventChanges.
func (c *Changes) Erase(ctx context.Context, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
	return c.change(ctx, "erase", action, ids, eraseSQL, c.args(action, ids)...)
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

// End implements domain.ActionEnds.
func (c *Changes) End(ctx context.Context, action *domain.Action, err error) error {
	return stored.End(ctx, c.db, action, err)
}

// change runs a statement. The last parameter of the statement has the events that are
// not changed if only Redis knows whether a task is running.
func (c *Changes) change(ctx context.Context, kind string, action *domain.Action, ids []domain.ID, statement string, args ...any) (changes []domain.Change, err error) {
	err = c.sure(ctx, ids, func(d *doubt) error {
		return stored.Step(ctx, c.db, kind, action, func(tx pgx.Tx) (changed int64, err error) {
			rows, err := tx.Query(ctx, statement, append(slices.Clip(args), postgres.UUIDs(d.blind))...)
			if err != nil {
				return 0, err
			}
			if changes, err = d.read(rows); err != nil {
				return 0, err
			}
			for _, ch := range changes {
				if ch.Answer.Done() {
					changed++
				}
			}
			return changed, d.look(ctx, tx, changes)
		})
	})
	if err != nil {
		return nil, postgres.Translate(err, kind+" events")
	}
	return changes, nil
}
