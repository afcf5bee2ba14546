package recall

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

var _ domain.ChangeRequests = (*Changes)(nil)

const (
	requestsSQL = `SELECT event_id FROM outbox_requests WHERE event_id > $1 ORDER BY event_id LIMIT $2`
	carryOutSQL = `SELECT event_id, answer FROM outbox_carry_out($1, $2)`
)

// CarryOut implements domain.ChangeRequests.
func (c *Changes) CarryOut(ctx context.Context, after domain.ID, limit int, ask bool) (out domain.CarriedOut, err error) {
	const doing = "carry out what producers asked for"
	rows, err := c.db.Pool().Query(ctx, requestsSQL, [16]byte(after), limit)
	if err != nil {
		return out, postgres.Translate(err, doing)
	}
	ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id domain.ID, err error) {
		err = row.Scan((*[16]byte)(&id))
		return id, err
	})
	if err != nil || len(ids) == 0 {
		return out, postgres.Translate(err, doing)
	}
	if len(ids) == limit {
		out.Last = ids[limit-1]
	}
	asking := *c
	if !ask {
		asking.queue = nil
	}
	err = asking.sure(ctx, ids, func(d *doubt) error {
		if ask {
			out.Queue = d.failed
		}
		return pgx.BeginFunc(ctx, c.db.Pool(), func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, carryOutSQL, postgres.UUIDs(ids), postgres.UUIDs(d.blind))
			if err != nil {
				return err
			}
			out.Changes, err = d.read(rows)
			if err != nil {
				return err
			}
			return d.look(ctx, tx, out.Changes)
		})
	})
	if err != nil {
		return domain.CarriedOut{}, postgres.Translate(err, doing)
	}
	return out, nil
}
