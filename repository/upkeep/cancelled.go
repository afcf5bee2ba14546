package upkeep

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Cancelled events and void tasks. The transaction that cancelled or changed an event
// could not also delete its task in Redis, so the leader deletes the tasks that are left.

const sayUnconfirmedSQL = `UPDATE outbox_queue_identity SET unconfirmed = $1, outward = $2 WHERE (unconfirmed, outward) <> ($1, $2)`

// SayUnconfirmed implements domain.Housekeeping.
func (h *Housekeeping) SayUnconfirmed(ctx context.Context, types, outward []string) error {
	_, err := h.db.Pool().Exec(ctx, sayUnconfirmedSQL, append([]string{}, types...), append([]string{}, outward...))
	return postgres.Translate(err, "say which types of events nobody confirms")
}

const cancelledTasksSQL = `
SELECT id, queue, generation FROM outbox_cancelled WHERE removed_at IS NULL AND id > $1 ORDER BY id LIMIT $2`

// CancelledTasks implements domain.Housekeeping.
func (h *Housekeeping) CancelledTasks(ctx context.Context, after domain.ID, limit int) ([]domain.Event, error) {
	return h.tasks(ctx, "look for cancelled events", cancelledTasksSQL, after, limit)
}

// If a producer wrote an event again under its ID, the task of the new row is not void.
// In that case the query returns the generation -1, and the task stays. The subqueries
// return one value each, so that the planner cannot read a whole table into a hash.
const voidTasksSQL = `
SELECT event_id, queue, CASE
    WHEN (SELECT true FROM outbox o WHERE o.id = v.event_id AND o.generation <= v.generation LIMIT 1) THEN -1
    WHEN (SELECT true FROM outbox_sent s WHERE s.id = v.event_id AND s.generation <= v.generation LIMIT 1)
     AND (SELECT true FROM inbox i WHERE i.event_id = v.event_id) IS NULL THEN -1
    ELSE generation END
FROM (SELECT event_id, queue, generation FROM outbox_void_tasks WHERE removed_at IS NULL AND event_id > $1 ORDER BY event_id LIMIT $2) AS v
ORDER BY event_id`

// VoidTasks implements domain.Housekeeping.
func (h *Housekeeping) VoidTasks(ctx context.Context, after domain.ID, limit int) ([]domain.Event, error) {
	return h.tasks(ctx, "look for void tasks", voidTasksSQL, after, limit)
}

func (h *Housekeeping) tasks(ctx context.Context, doing, statement string, after domain.ID, limit int) ([]domain.Event, error) {
	rows, err := h.db.Pool().Query(ctx, statement, [16]byte(after), limit)
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
func (h *Housekeeping) TasksRemoved(ctx context.Context, events []domain.Event) error {
	ids, _ := idsAndGenerations(events)
	_, err := h.db.Pool().Exec(ctx, `UPDATE outbox_cancelled SET removed_at = clock_timestamp() WHERE id = ANY ($1)`, ids)
	return postgres.Translate(err, "note that the tasks of cancelled events are removed")
}

// If the generation of a row has grown in the meantime, the row stays, and the next round
// deletes its task.
const voidTasksRemovedSQL = `
UPDATE outbox_void_tasks v SET removed_at = clock_timestamp()
FROM unnest($1::uuid[], $2::integer[]) AS removed (id, generation) WHERE v.event_id = removed.id AND v.generation = removed.generation`

// VoidTasksRemoved implements domain.Housekeeping.
func (h *Housekeeping) VoidTasksRemoved(ctx context.Context, events []domain.Event) error {
	ids, generations := idsAndGenerations(events)
	_, err := h.db.Pool().Exec(ctx, voidTasksRemovedSQL, ids, generations)
	return postgres.Translate(err, "note that void tasks are removed")
}

func idsAndGenerations(events []domain.Event) (ids [][16]byte, generations []int) {
	ids, generations = make([][16]byte, len(events)), make([]int, len(events))
	for i := range events {
		ids[i], generations[i] = events[i].ID, events[i].Generation
	}
	return ids, generations
}

const trimVoidTasksSQL = `
DELETE FROM outbox_void_tasks WHERE event_id = ANY (ARRAY(
    SELECT event_id FROM outbox_void_tasks WHERE removed_at IS NOT NULL AND until < clock_timestamp() ORDER BY until LIMIT $1))`

// TrimVoidTasks implements domain.Housekeeping.
func (h *Housekeeping) TrimVoidTasks(ctx context.Context, _ time.Duration, limit int) (int64, error) {
	tag, err := h.db.Pool().Exec(ctx, trimVoidTasksSQL, limit)
	return tag.RowsAffected(), postgres.Translate(err, "trim void tasks")
}

// repeatable has the tables that may have a repeat of a cancelled event.
var repeatable = stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateDead, lives.StateSuppressed)

// The account keeps the number of the deleted cancelled events. The inbox rows of the
// deleted events are deleted with them. The inbox row of a cancelled event prevents its
// task from taking effect. A cancelled event is deleted only when Redis no longer has a
// task of it. A producer may have written the event again since. Then the inbox row also
// prevents the task of that row from taking effect, so the cancelled event stays as long as
// another table has its ID.
var trimCancelledSQL = `
WITH gone AS (
    DELETE FROM outbox_cancelled WHERE id = ANY(ARRAY(
        SELECT id FROM outbox_cancelled WHERE cancelled_at < now() - $1 * interval '1 second' AND removed_at IS NOT NULL
          AND ` + repeatable.Lack("outbox_cancelled.id") + ` ORDER BY cancelled_at LIMIT $2))
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
