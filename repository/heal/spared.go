package heal

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lost"
)

// queuesSQL reads the queues of a piece of the history, with the rows that redriveSQL
// reads next.
const queuesSQL = `SELECT DISTINCT queue FROM outbox_sent WHERE id > $1::uuid AND id <= $2::uuid`

// spared returns the queues of a piece of the history that are in none of the lost slots.
// If another transaction adds events of a further queue to the piece meanwhile, that
// queue is not spared, so its events are sent again.
func (r redrive) spared(ctx context.Context, tx pgx.Tx, after, last domain.ID) ([]string, error) {
	if r.slots == nil {
		return []string{}, nil
	}
	rows, err := tx.Query(ctx, queuesSQL, [16]byte(after), [16]byte(last))
	if err != nil {
		return nil, err
	}
	queues, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(append([]string{}, queues...), func(queue string) bool { return r.slots.Has(lost.SlotOf(queue)) }), err
}

// losesAcknowledgements reports whether acknowledgements may be lost that were not read
// yet.
func (r redrive) losesAcknowledgements() bool {
	return r.slots != nil && r.slots.Has(lost.SlotOf(lost.OwnTag))
}
