package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/overview"
	"outboxd/repository/postgres"
)

// marksSQL finds the first sample of each new leader, the heals, and the changes of the
// version. If two relays of a new version start at the same time, both may leave a
// mark; the result has only one of them. The result has no name for a relay whose
// record was deleted.
const marksSQL = `
SELECT at, 'leader' AS kind, coalesce((SELECT host || ', process ' || pid || ', version ' || version FROM outbox_relays WHERE id = relay), '') FROM (
    SELECT at, relay, lag(relay) OVER (ORDER BY at) AS before FROM outbox_samples WHERE at > now() - $1 * interval '1 second'
) AS found WHERE before <> relay
UNION ALL
SELECT at, kind, detail FROM (
    SELECT at, kind, detail, lag(detail) OVER (PARTITION BY kind ORDER BY at) AS before FROM outbox_chart_marks
) AS marks WHERE at > now() - $1 * interval '1 second' AND (kind = 'heal' OR before <> detail)
ORDER BY at DESC LIMIT 50`

// healsSQL reads the newest heals of the last hour, and how many heals there were in
// it.
const healsSQL = `
SELECT at, detail, count(*) OVER () FROM outbox_chart_marks
WHERE kind = 'heal' AND at > now() - interval '1 hour' ORDER BY at DESC LIMIT $1`

func (o *Overviews) heals(ctx context.Context, s *overview.Standing) error {
	rows, err := o.db.Pool().Query(ctx, healsSQL, overview.HealsNamed)
	if err != nil {
		return err
	}
	s.LastHeals, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h overview.Heal, err error) {
		err = row.Scan(&h.At, &h.Reason, &s.Heals)
		return h, err
	})
	return err
}

// Marks implements overview.Overviews.
func (o *Overviews) Marks(ctx context.Context, window time.Duration) ([]overview.HistoryMark, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	rows, err := o.db.Pool().Query(ctx, marksSQL, window.Seconds())
	if err != nil {
		return nil, postgres.Translate(err, "read the marks of the history")
	}
	marks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m overview.HistoryMark, err error) {
		err = row.Scan(&m.At, &m.Kind, &m.Detail)
		return m, err
	})
	return marks, postgres.Translate(err, "read the marks of the history")
}
