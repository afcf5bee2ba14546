package search

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// settledSQL finds the events that need no dead letter any more. A task of an event that is dead is not settled, unless
// the dead letter is of a later generation, which has a task of its own. The journal has an entry with the generation
// of the dead letter that was replayed, discarded, cancelled or erased.
const settledSQL = `
SELECT n - 1 FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS asked (id, generation, n) LEFT JOIN outbox_dead d ON d.id = asked.id
WHERE CASE WHEN d.id IS NOT NULL THEN d.generation > asked.generation
    ELSE EXISTS (SELECT FROM inbox i WHERE i.event_id = asked.id)
      OR EXISTS (SELECT FROM outbox_journal j WHERE j.event_id = asked.id AND j.generation >= asked.generation AND j.entry IN ('replayed', 'discarded', 'cancelled', 'erased')) END
ORDER BY n`

// Settled returns the places of those of the given tasks' events that are known not to be dead letters any more: they
// took effect, or a person replayed, discarded, cancelled or erased them. Of the events it reads the ID and the
// generation. It does not return an event that the database knows nothing about.
//
// Errors: domain.CodeUnavailable.
func (o *Overviews) Settled(ctx context.Context, tasks []domain.Event) ([]int, error) {
	const doing = "look which archived tasks are settled"
	ids, generations := make([][16]byte, len(tasks)), make([]int, len(tasks))
	for i := range tasks {
		ids[i], generations[i] = tasks[i].ID, tasks[i].Generation
	}
	rows, err := o.db.Pool().Query(ctx, settledSQL, ids, generations)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[int])
	return places, postgres.Translate(err, doing)
}
