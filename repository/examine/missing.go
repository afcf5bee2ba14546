package examine

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/repository/heal"
)

const countMissingSQL = `
SELECT count(*), coalesce(string_agg(DISTINCT event_type, ', ' ORDER BY event_type), ''), coalesce(min(event_id::text), ''),
       coalesce(max(resends), 0)
FROM (SELECT event_type, event_id, resends FROM outbox_missing WHERE ` + heal.IsMissingSQL + ` LIMIT $1) AS few`

// missing reads how many events the leader has found missing in the queue, and an
// example.
func (e *Examiner) missing(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var m thorough.MissingEvents
	if err := tx.QueryRow(ctx, countMissingSQL, diagnosis.Counted+1).Scan(&m.Events, &m.Types, &m.Example, &m.Resends); err != nil {
		return err
	}
	m.Types = legible(m.Types)
	facts.Missing = &m
	return nil
}
