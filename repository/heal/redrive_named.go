package heal

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// redriveAtOnce is the largest number of events that RedriveEvents puts back in one
// transaction.
const redriveAtOnce = 1000

// RedriveEvents puts events back into the outbox, and records that as an action. Of the
// given IDs it takes those that were published and are neither confirmed nor dead. It
// leaves out an event that has only deliveries, and an event that another transaction has
// locked. If the outbox refuses an event, RedriveEvents makes a dead letter of it. It
// returns how many events it put back.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (m *MissingEvents) RedriveEvents(ctx context.Context, action *domain.Action, ids []domain.ID) (int64, error) {
	total, err := m.redriveEvents(ctx, action, ids)
	return total, stored.End(ctx, m.db, action, err)
}

const redriveQueuesSQL = `
SELECT s.queue, count(*) FROM outbox_sent s
WHERE s.id = ANY ($1::uuid[]) AND s.split IS DISTINCT FROM 'instead' AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
GROUP BY s.queue ORDER BY s.queue`

// RedriveQueues returns the queues of the events that RedriveEvents would put back, and how many events go into each.
// It also counts dead events.
func (m *MissingEvents) RedriveQueues(ctx context.Context, ids []domain.ID) ([]domain.QueueCount, error) {
	const doing = "count events by their queues"
	rows, err := m.db.Pool().Query(ctx, redriveQueuesSQL, postgres.UUIDs(ids))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	queues, err := pgx.CollectRows(rows, pgx.RowToStructByPos[domain.QueueCount])
	return queues, postgres.Translate(err, doing)
}

func (m *MissingEvents) redriveEvents(ctx context.Context, action *domain.Action, ids []domain.ID) (total int64, err error) {
	const doing = "send events again"
	// The action is recorded before the first event goes back, as in RedriveByHand.
	if err := stored.Step(ctx, m.db, "redrive", action, func(pgx.Tx) (int64, error) { return 0, nil }); err != nil {
		return 0, postgres.Translate(err, doing)
	}
	r := redrive{stage: domain.StagePerson, why: stored.ByWhom(m.db, action)}
	for some := range slices.Chunk(ids, redriveAtOnce) {
		events, err := m.resendAround(ctx, some, r, func(some []domain.ID) (events moved, err error) {
			err = stored.Step(ctx, m.db, "redrive", action, func(tx pgx.Tx) (int64, error) {
				events, err = resendIn(ctx, tx, some, r)
				return events.back, err
			})
			return events, err
		})
		if total += events.back; err != nil {
			return total, postgres.Translate(err, doing)
		}
	}
	return total, nil
}
