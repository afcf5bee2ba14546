package examine

import (
	"context"
	"errors"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"

	"github.com/jackc/pgx/v5"
)

// wentBackSQL returns a row only if the database went back within the last seven days. It
// counts entries of the journal, which are kept for --relay-inbox-retention: 14 days by
// default.
const wentBackSQL = `
SELECT extract(epoch FROM now() - went_back_at)::float8,
       (SELECT count(*) FROM (SELECT FROM outbox_journal WHERE entry = 'unknown' AND at > went_back_at - interval '1 hour' LIMIT $1) AS few),
       (SELECT event_id::text FROM outbox_journal WHERE entry = 'unknown' AND at > went_back_at - interval '1 hour' ORDER BY at DESC LIMIT 1)
FROM outbox_queue_identity WHERE went_back_at > now() - interval '7 days'`

// wentBack counts tasks that had no effect, because the database went back and no longer
// has their events.
func (e *Examiner) wentBack(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var u thorough.UnknownEvents
	var ago float64
	var example *string
	err := tx.QueryRow(ctx, wentBackSQL, diagnosis.Counted+1).Scan(&ago, &u.Tasks, &example)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && example == nil {
		return nil
	}
	if err != nil {
		return err
	}
	u.Ago, u.Example = inSeconds(ago), *example
	facts.Unknown = &u
	return nil
}
