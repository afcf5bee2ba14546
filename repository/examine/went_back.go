package examine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// manyUnknown bounds how many entries of the journal are counted.
const manyUnknown = 10_000

// Only where the database went back within a week, which is how long the journal
// is usually kept, is there anything to look for.
const wentBackSQL = `
SELECT extract(epoch FROM now() - went_back_at)::float8,
       (SELECT count(*) FROM (SELECT FROM outbox_journal WHERE entry = 'unknown' AND at > went_back_at - interval '1 hour' LIMIT $1) AS few),
       (SELECT event_id::text FROM outbox_journal WHERE entry = 'unknown' AND at > went_back_at - interval '1 hour' ORDER BY at DESC LIMIT 1)
FROM outbox_queue_identity WHERE went_back_at > now() - interval '7 days'`

// wentBack tells of tasks that had no effect because their events do not exist
// any more.
func (e *Examiner) wentBack(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var ago float64
	var count int
	var example *string
	err := tx.QueryRow(ctx, wentBackSQL, manyUnknown+1).Scan(&ago, &count, &example)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (count == 0 || example == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	many := fmt.Sprint(count)
	if count > manyUnknown {
		many = fmt.Sprintf("more than %d", manyUnknown)
	}
	return one(domain.Finding{
		Code: "events-unknown", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("PostgreSQL went back to an earlier state %s ago, and %s tasks have no event any more, such as %s", span(time.Duration(ago*float64(time.Second))), many, *example),
		Consequence: "the transactions that wrote these events are lost, with everything else that they wrote; the tasks had no effect",
		Remedy:      "let the producers repeat what they lost; SELECT event_id, at FROM outbox_journal WHERE entry = 'unknown' names all of them",
	}), nil
}
