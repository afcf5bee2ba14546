package upkeep

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Cancelled events. The leader deletes their tasks in Redis, which the statement
// that cancelled them could not do inside its transaction.

const sayUnconfirmedSQL = `UPDATE outbox_queue_identity SET unconfirmed = $1 WHERE unconfirmed <> $1`

// SayUnconfirmed implements domain.Housekeeping.
func (h *Housekeeping) SayUnconfirmed(ctx context.Context, types []string) error {
	_, err := h.db.Pool().Exec(ctx, sayUnconfirmedSQL, append([]string{}, types...))
	return postgres.Translate(err, "say which types of events nobody confirms")
}

const cancelledTasksSQL = `
SELECT id, queue, generation FROM outbox_cancelled WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT $2`

// CancelledTasks implements domain.Housekeeping.
func (h *Housekeeping) CancelledTasks(ctx context.Context, after domain.ID, limit int) ([]domain.Event, error) {
	const doing = "look for cancelled events"
	rows, err := h.db.Pool().Query(ctx, cancelledTasksSQL, [16]byte(after), limit)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e domain.Event, err error) {
		err = row.Scan((*[16]byte)(&e.ID), &e.Queue, &e.Generation)
		return e, err
	})
	return events, postgres.Translate(err, doing)
}

// TasksRemoved implements domain.Housekeeping.
func (h *Housekeeping) TasksRemoved(ctx context.Context, events []domain.ID) error {
	_, err := h.db.Pool().Exec(ctx, `UPDATE outbox_cancelled SET removed_at = clock_timestamp() WHERE id = ANY ($1)`, postgres.UUIDs(events))
	return postgres.Translate(err, "note that the tasks of cancelled events are removed")
}

// The account keeps their number. Their rows in inbox, which keep a task from taking
// effect, are deleted with them. An event is deleted only when no task of it is left
// in Redis.
var trimCancelledSQL = `
WITH gone AS (
    DELETE FROM outbox_cancelled WHERE id = ANY(ARRAY(
        SELECT id FROM outbox_cancelled WHERE cancelled_at < now() - $1 * interval '1 second' AND removed_at IS NOT NULL ORDER BY cancelled_at LIMIT $2))
    RETURNING id, event_type, created_at
), forgotten AS (
    DELETE FROM inbox WHERE event_id = ANY (ARRAY(SELECT id FROM gone))
), entered AS (
    INSERT INTO outbox_account AS a (day, event_type, cancelled)
    SELECT ` + stored.AccountDaySQL + `, event_type, count(*) FROM gone GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, event_type) DO UPDATE SET cancelled = a.cancelled + excluded.cancelled
)
SELECT count(*) FROM gone`

// TrimCancelled implements domain.Housekeeping.
func (h *Housekeeping) TrimCancelled(ctx context.Context, age time.Duration, limit int) (int64, error) {
	return h.trimCounted(ctx, "trim cancelled events", trimCancelledSQL, age, limit)
}
