package heal

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// resendAround puts events back, although the outbox may refuse some of them. It calls
// the function resend, which puts all of its events back or none. If the outbox refuses
// an event, resendAround calls resend with each half of the events, and so on. An event
// that is refused alone becomes a dead letter. If the outbox refuses even a made-up valid
// event, resendAround returns the error of resend and makes no dead letter. Together with
// an error, resendAround returns what it did before the error.
func (m *MissingEvents) resendAround(ctx context.Context, ids []domain.ID, r redrive, resend func([]domain.ID) (moved, error)) (moved, error) {
	total, err := resend(ids)
	switch {
	case err == nil:
		return total, nil
	case !stored.IsOfRow(err), postgres.IsFleeting(err), len(ids) == 0:
		return moved{}, err
	case len(ids) == 1:
		if none := m.backMadeUp(ctx, r); stored.IsOfRow(none) {
			return moved{}, err // a faultless event cannot go back either
		} else if none != nil {
			return moved{}, none
		}
		return moved{}, m.setAside(ctx, ids[0], err)
	}
	total = moved{}
	for _, half := range [][]domain.ID{ids[:len(ids)/2], ids[len(ids)/2:]} {
		events, err := m.resendAround(ctx, half, r, resend)
		if total.add(events); err != nil {
			return total, err
		}
	}
	return total, nil
}

const backMadeUpSQL = `
WITH moving AS MATERIALIZED (
    SELECT set_config('outboxd.moving', 'on', true)
), back AS (
    INSERT INTO outbox (event_type, payload) SELECT 'outboxd:probe', '' FROM moving RETURNING id
)
INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, $1, 'redriven', 0, $2 FROM back`

// backMadeUp inserts a made-up valid event as if the event went back, and rolls the
// transaction back. If the insert fails, the fault is not in a row.
func (m *MissingEvents) backMadeUp(ctx context.Context, r redrive) error {
	tx, err := m.db.Pool().Begin(ctx)
	if err != nil {
		return err
	}
	defer postgres.RollBack(ctx, tx)
	_, err = tx.Exec(ctx, backMadeUpSQL, string(r.stage), r.why)
	return err
}

// setAsideSQL makes a dead letter of an event that the outbox refuses, unless the event
// was confirmed or became dead in the meantime. If even that fails, the rows of the event
// stay in the history. Then the try counts if the event is stored as missing, so that the
// leader does not try for ever.
const setAsideSQL = `
WITH aside AS MATERIALIZED (
    SELECT outbox_set_aside(tableoid::regclass, ctid, $2) AS dead FROM outbox_sent AS unconfirmed
    WHERE id = $1 AND split IS DISTINCT FROM 'instead' AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = unconfirmed.id) AND ` + notDeadSQL + `
), tried AS (
    UPDATE outbox_missing SET resends = resends + 1, resent_at = clock_timestamp() WHERE event_id = $1 AND EXISTS (SELECT FROM aside WHERE dead IS NULL)
)
SELECT dead IS NOT NULL FROM aside`

func (m *MissingEvents) setAside(ctx context.Context, id domain.ID, cause error) error {
	return pgx.BeginFunc(ctx, m.db.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stillPartitionsSQL); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, setAsideSQL, [16]byte(id), m.db.Storable("the outbox does not take the event back: "+cause.Error()))
		if err != nil {
			return err
		}
		var dead bool
		_, err = pgx.ForEachRow(rows, []any{&dead}, func() error {
			m.db.Logger().ErrorContext(ctx, "an event cannot be sent again as it is in the history", "event_id", id, "dead_letter", dead, "error", cause)
			return nil
		})
		return err
	})
}
