package upkeep

import (
	"context"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// Events that have only deliveries. The transaction that ends the last delivery of an event confirms the event. If a
// producer writes the event again and a relay claims it while that transaction is open, the transaction does not know
// that the event waits again. So the leader looks for such events. The leader also looks for deliveries that were made
// before a claim; see outbox_await.

// endedSQL looks at a piece of outbox_awaited, from the row after $1 on. It returns the events for which outbox_await
// must be called, and the last row that it read, or the zero UUID if fewer than $2 rows were left.
const endedSQL = `
WITH looked AS MATERIALIZED (
    SELECT delivery_id, event_id FROM outbox_awaited WHERE delivery_id > $1 ORDER BY delivery_id LIMIT $2
)
SELECT coalesce(array_agg(DISTINCT event_id) FILTER (WHERE delivery_id = event_id OR (SELECT i.event_id FROM inbox i WHERE i.event_id = delivery_id) IS NOT NULL), '{}'),
       coalesce((SELECT delivery_id FROM looked ORDER BY delivery_id OFFSET $2 - 1 LIMIT 1), '00000000-0000-0000-0000-000000000000')
FROM looked`

// ConfirmDelivered implements domain.Housekeeping.
func (h *Housekeeping) ConfirmDelivered(ctx context.Context, after domain.ID, limit int) (last domain.ID, err error) {
	const doing = "confirm events whose deliveries have ended"
	var events [][16]byte
	if err := h.db.Pool().QueryRow(ctx, endedSQL, [16]byte(after), limit).Scan(&events, (*[16]byte)(&last)); err != nil {
		return after, postgres.Translate(err, doing)
	}
	for _, id := range events {
		// A transaction for each event: the lock of one event must not wait for another event.
		if _, err := h.db.Pool().Exec(ctx, "SELECT outbox_await($1)", id); err != nil {
			return after, postgres.Translate(err, doing)
		}
	}
	return last, nil
}
