package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/overview"
	"outboxd/repository/postgres"
)

// marksSQL finds the samples before which another relay measured, and the last heal.
// The result has no name for a relay whose record was deleted.
const marksSQL = `
SELECT at, kind, coalesce((SELECT host || ', process ' || pid || ', version ' || version FROM outbox_relays WHERE id = relay), '') FROM (
    SELECT at, 'leader' AS kind, relay, lag(relay) OVER (ORDER BY at) AS before FROM outbox_samples WHERE at > now() - $1 * interval '1 second'
    UNION ALL
    SELECT healed_at, 'heal', NULL, '00000000-0000-0000-0000-000000000000' FROM outbox_queue_identity WHERE healed_at > now() - $1 * interval '1 second'
) AS found WHERE before <> relay OR kind = 'heal' ORDER BY at DESC LIMIT 50`

// Marks implements overview.Overviews.
func (o *Overviews) Marks(ctx context.Context, window time.Duration) ([]overview.HistoryMark, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	rows, err := o.db.Pool().Query(ctx, marksSQL, window.Seconds())
	if err != nil {
		return nil, postgres.Translate(err, "read the marks of the history")
	}
	marks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m overview.HistoryMark, err error) {
		err = row.Scan(&m.At, &m.Kind, &m.Relay)
		return m, err
	})
	return marks, postgres.Translate(err, "read the marks of the history")
}
