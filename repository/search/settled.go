package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/repository/postgres"
)

// settledSQL finds the tasks whose events need no dead letter any more. A task of an event that is dead is not settled,
// unless the dead letter is of a later generation, which has a task of its own. The journal has an entry with the
// generation of the dead letter that was replayed, discarded, cancelled or erased. An old task may have outlived its
// inbox row and its journal entry, but not its dead letter: so an old task without a dead letter is settled.
const settledSQL = `
SELECT asked.place FROM unnest($1::integer[], $2::uuid[], $3::integer[], $4::boolean[]) AS asked (place, id, generation, old) LEFT JOIN outbox_dead d ON d.id = asked.id
WHERE CASE WHEN d.id IS NOT NULL THEN d.generation > asked.generation
    ELSE old OR EXISTS (SELECT FROM inbox i WHERE i.event_id = asked.id)
      OR EXISTS (SELECT FROM outbox_journal j WHERE j.event_id = asked.id AND j.generation >= asked.generation AND j.entry IN ('replayed', 'discarded', 'cancelled', 'erased')) END
ORDER BY asked.place`

// Settled returns the indexes of the archived tasks that need no attention: the event has no dead letter for the task
// any more, because it took effect, or because somebody replayed, discarded, cancelled or erased it. retention is how
// long the database keeps the evidence of that. A task that was archived longer ago needs no attention either if its
// event has no dead letter: the leader makes dead letters of archived tasks, and dead letters are kept. A task whose ID
// is no task ID of an event is not returned.
//
// Errors: domain.CodeUnavailable.
func (o *Overviews) Settled(ctx context.Context, tasks []queued.ArchivedTask, retention time.Duration) ([]int, error) {
	const doing = "look which archived tasks are settled"
	var places, generations []int
	var ids [][16]byte
	var old []bool
	kept := time.Now().Add(-retention)
	for place, task := range tasks {
		if id, generation, err := domain.ParseTaskID(task.TaskID); err == nil {
			places, ids, generations, old = append(places, place), append(ids, id), append(generations, generation), append(old, task.At.Before(kept))
		}
	}
	rows, err := o.db.Pool().Query(ctx, settledSQL, places, ids, generations, old)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	return found, postgres.Translate(err, doing)
}
