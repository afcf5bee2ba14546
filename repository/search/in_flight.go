package search

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// inFlightSQL looks into an index once for each ID and each partition of the history. If
// an event was sent again, its newest generation counts.
var inFlightSQL = `
SELECT DISTINCT ON (id) id, event_type, queue, coalesce(ordering_key, ''), ` + stored.Within("created_at") + `, ` + stored.Within("sent_at") + `,
       generation, octet_length(payload)
FROM ` + stored.Places.Table(lives.StateInFlight) + ` AS s
WHERE id = ANY ($1::uuid[]) AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
  AND ` + stored.NamedSQL("$2", "event_type") + ` AND ` + stored.NamedSQL("$3", "queue") + ` AND ($4 = '' OR ordering_key = $4)
  AND ($5 = '' OR CASE WHEN $6 = '' THEN headers ->> $5 IS NOT NULL ELSE headers ->> $5 = $6 END)
  AND ` + stored.FieldSQL(7) + ` AND ` + stored.NotFieldsSQL(10) + ` AND ` + stored.NotKeysSQL("$13") + ` AND ` + stored.NotHeadersSQL(14) + `
ORDER BY id, generation DESC`

// InFlight implements lives.Reader.
func (l *Lives) InFlight(ctx context.Context, f lives.Filter, ids []domain.ID) ([]lives.Summary, error) {
	const doing = "look for events in flight"
	rows, err := l.db.Pool().Query(ctx, inFlightSQL, slices.Concat(
		[]any{postgres.UUIDs(ids), f.Type, f.Queue, f.OrderingKey, f.HeaderName, f.HeaderValue}, stored.FieldArgs(f.Payload), stored.NotFieldsArgs(f.NotFields), []any{f.NotKeys}, stored.NotHeadersArgs(f.NotHeaders))...)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e lives.Summary, err error) {
		e.State = lives.StateInFlight
		err = row.Scan((*[16]byte)(&e.ID), &e.Type, &e.Queue, &e.OrderingKey, &e.CreatedAt, &e.Since, &e.Generation, &e.PayloadBytes)
		return e, err
	})
	return found, postgres.Translate(err, doing)
}
