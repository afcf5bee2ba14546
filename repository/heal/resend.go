package heal

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// resendSQL does what redriveSQL does, for the events with the given IDs.
var resendSQL = `
WITH moving AS MATERIALIZED (
    SELECT set_config('outboxd.moving', 'on', true)
), lost AS MATERIALIZED (
    SELECT s.tableoid AS part, s.ctid AS place, s.sent_at FROM outbox_sent s
    WHERE s.id = ANY ($1::uuid[]) AND s.split IS DISTINCT FROM 'instead' -- such an event has only deliveries
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
      AND NOT EXISTS (SELECT FROM outbox_dead d WHERE d.id = s.id AND d.generation >= s.generation)
` + backSQL + `), counted AS (
    UPDATE outbox_missing SET resends = resends + 1, resent_at = clock_timestamp() WHERE event_id IN (SELECT id FROM back)
), noted AS (
    INSERT INTO outbox_journal (event_id, stage, entry, generation, detail, sent_at) SELECT id, $2, 'redriven', generation, $3, sent_at FROM was WHERE is_back
)
` + movedSQL

// Resend implements lost.MissingEvents.
func (m *MissingEvents) Resend(ctx context.Context, ids []domain.ID, why string) (int64, error) {
	events, err := m.resend(ctx, ids, redrive{stage: domain.StageRelay, why: why})
	return events.back, postgres.Translate(err, "send missing events again")
}

// resend puts events back in a transaction, or in several if the outbox refuses some.
func (m *MissingEvents) resend(ctx context.Context, ids []domain.ID, r redrive) (moved, error) {
	return m.resendAround(ctx, ids, r, func(some []domain.ID) (events moved, err error) {
		err = pgx.BeginFunc(ctx, m.db.Pool(), func(tx pgx.Tx) error {
			events, err = resendIn(ctx, tx, some, r)
			return err
		})
		return events, err
	})
}

func resendIn(ctx context.Context, tx pgx.Tx, ids []domain.ID, r redrive) (events moved, err error) {
	if _, err := tx.Exec(ctx, stillPartitionsSQL); err != nil {
		return events, err
	}
	err = tx.QueryRow(ctx, resendSQL, postgres.UUIDs(ids), string(r.stage), r.why).Scan(&events.back, &events.locked)
	return events, err
}
