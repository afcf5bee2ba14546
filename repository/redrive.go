package repository

import (
	"context"
	"time"
)

// redriveBatch bounds one statement of Redrive, so that none holds its locks
// for long.
const redriveBatch = 5000

// The history row is deleted, not copied: the event is in one place at a time,
// and the relay's settling brings it back. Its task ID stays the same, so what
// Redis still has answers "already there". Due at once, and with its attempts
// as they were: Redis's forgetting is no failure of the event.
const redriveSQL = `
WITH lost AS (
    SELECT s.tableoid, s.ctid FROM outbox_sent s
    WHERE s.sent_at >= now() - $1 * interval '1 second'
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
    ORDER BY s.sent_at
    LIMIT $2
), gone AS (
    DELETE FROM outbox_sent s USING lost
    WHERE s.tableoid = lost.tableoid AND s.ctid = lost.ctid
    RETURNING s.*
), back AS (
    INSERT INTO outbox (` + eventColumns + `)
    SELECT DISTINCT ON (id) ` + eventColumns + ` FROM gone ORDER BY id, generation DESC
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM back)`

// Redrive puts every event that was sent within the window, and that no inbox
// row confirms, back into the outbox, oldest first, and returns how many. It is
// for when Redis has lost its data. Events that are only waiting for their
// worker go back too; their task IDs make the repeat harmless.
//
// Errors: domain.CodeUnavailable if the database cannot be reached; what was
// put back until then stays so.
func (o *Outbox) Redrive(ctx context.Context, window time.Duration) (int64, error) {
	total := int64(0)
	for {
		var taken, back int64
		if err := o.db.sql.QueryRowContext(ctx, redriveSQL, window.Seconds(), redriveBatch).Scan(&taken, &back); err != nil {
			return total, translate(err, "put unconfirmed events back")
		}
		if total += back; taken == 0 {
			return total, nil
		}
	}
}
