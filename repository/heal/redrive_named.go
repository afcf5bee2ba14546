package heal

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// redriveAtOnce bounds the named events of one transaction.
const redriveAtOnce = 1000

// RedriveEvents puts those of the named events back into the outbox that were
// handed to the queue and are not confirmed, recorded as an action. It returns
// how many.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (m *MissingEvents) RedriveEvents(ctx context.Context, action *domain.Action, ids []domain.ID) (total int64, err error) {
	for first := true; first || len(ids) > 0; first = false {
		some := ids[:min(len(ids), redriveAtOnce)]
		ids = ids[len(some):]
		err := stored.Act(ctx, m.db, "redrive", action, func(tx pgx.Tx) (int64, error) {
			n, err := resendIn(ctx, tx, some, domain.StagePerson, stored.ByWhom(m.db, action))
			total += n
			return n, err
		})
		if err != nil {
			return total, postgres.Translate(err, "send events again")
		}
	}
	return total, nil
}
