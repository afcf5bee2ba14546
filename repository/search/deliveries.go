package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/repository/stored"
)

// deliveriesSQL finds the deliveries of an event by their IDs. The ID of a delivery is
// computed from the event and the subscription. A delivery that was never made is in no
// table. If a subscription was removed and its name used again, the deliveries to the
// removed subscription are not found.
var deliveriesSQL = `
SELECT named.id, named.name, named.paused_at, named.paused_by, named.pause_reason, named.removed,
       coalesce(e.state, 'gone'), e.since, coalesce(e.generation, last.generation, 0), i.processed_at,
       (SELECT count(DISTINCT (j.generation, j.attempt)) FROM outbox_journal j WHERE j.event_id = named.id AND j.attempt > 0 AND j.stage = 'worker'),
       last.at, coalesce(last.stage, ''), coalesce(last.entry, ''), coalesce(last.generation, 0), coalesce(last.attempt, 0), coalesce(last.detail, '')
FROM (
    SELECT outbox_delivery_id($1::uuid, s.id) AS id, s.name, s.paused_at, s.paused_by, s.pause_reason, s.removed_at IS NOT NULL AS removed
    FROM outbox_subscriptions s WHERE get_byte(uuid_send($1::uuid), 6) >> 4 <> 8
) AS named LEFT JOIN LATERAL (
    SELECT * FROM (
        ` + stored.Places.Union(`SELECT {state} AS state, `+stored.Within("{since}")+` AS since, generation FROM {table} WHERE id = named.id`) + `
    ) AS places ORDER BY generation DESC LIMIT 1
) AS e ON true LEFT JOIN LATERAL (
    SELECT * FROM outbox_journal j WHERE j.event_id = named.id ORDER BY at DESC LIMIT 1
) AS last ON true LEFT JOIN inbox i ON i.event_id = named.id
WHERE e.state IS NOT NULL OR i.processed_at IS NOT NULL OR last.at IS NOT NULL
ORDER BY named.name`

// deliveries returns the deliveries of an event, by the name of the subscription.
func (l *Lives) deliveries(ctx context.Context, id domain.ID) ([]lives.Delivery, error) {
	rows, err := l.db.Pool().Query(ctx, deliveriesSQL, [16]byte(id))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanDelivery)
}

func scanDelivery(row pgx.CollectableRow) (lives.Delivery, error) {
	var d lives.Delivery
	var pause setup.Pause
	var last lives.JournalEntry
	var paused, since, confirmed, at *time.Time
	if err := row.Scan((*[16]byte)(&d.ID), &d.Subscription, &paused, &pause.By, &pause.Reason, &d.Removed, &d.State, &since, &d.Generation, &confirmed,
		&d.Attempts, &at, &last.Stage, &last.Entry, &last.Generation, &last.Attempt, &last.Detail); err != nil {
		return d, err
	}
	if paused != nil {
		pause.Since = *paused
		d.Paused = &pause
	}
	if since != nil {
		d.Since = *since
	}
	if confirmed != nil && d.State != lives.StateDead && d.State != lives.StateCancelled {
		d.State, d.Since = lives.StateConfirmed, *confirmed
	}
	if at != nil {
		last.At = *at
		d.Last = &last
	}
	return d, nil
}
