package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Lives implements domain.EventLives.
type Lives struct{ db *postgres.Database }

var _ domain.EventLives = (*Lives)(nil)

// NewLives returns the Lives of db.
func NewLives(db *postgres.Database) *Lives { return &Lives{db: db} }

// lifeSQL is one statement, so it finds an event that moves at the same time exactly
// once.
var lifeSQL = `
SELECT ` + stored.Columns + `, state, since, stage, error, rival,
       ` + holderSQL("e.ordering_key", "e.ordering_position") + `,
       (SELECT count(*) FROM (SELECT FROM outbox_held h WHERE h.ordering_key = e.ordering_key LIMIT 1000) AS waiting)
FROM (
    ` + stored.Places.Union(`SELECT `+stored.Columns+`, {state} AS state, `+stored.Within("{since}")+` AS since, {stage} AS stage, {error} AS error, {rival} AS rival FROM {table} WHERE id = $1`) + `
) AS e ORDER BY generation DESC LIMIT 1`

const lifeJournalSQL = `SELECT at, stage, entry, generation, attempt, detail FROM outbox_journal WHERE event_id = $1 ORDER BY at`

// Find implements domain.EventLives.
func (l *Lives) Find(ctx context.Context, id domain.ID) (*domain.EventLife, error) {
	doing := fmt.Sprintf("look for event %s", id)
	life := &domain.EventLife{State: domain.StateGone}
	found, err := l.place(ctx, id, life)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	life.ID = id
	var confirmed *time.Time
	err = l.db.Pool().QueryRow(ctx, "SELECT max(processed_at) FROM inbox WHERE event_id = $1", [16]byte(id)).Scan(&confirmed)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if confirmed != nil {
		life.ConfirmedAt = *confirmed
		switch life.State {
		case domain.StateDead:
		case domain.StateCancelled: // the row is of the cancellation
			life.ConfirmedAt = time.Time{}
		default:
			life.State = domain.StateConfirmed
		}
	}
	rows, err := l.db.Pool().Query(ctx, lifeJournalSQL, [16]byte(id))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if life.Journal, err = pgx.CollectRows(rows, pgx.RowToStructByPos[domain.JournalEntry]); err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if life.Deliveries, err = l.deliveries(ctx, id); err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if !found && confirmed == nil && len(life.Journal) == 0 {
		return nil, domain.Errorf(domain.CodeNotFound, "there is no event %s", id)
	}
	return life, nil
}

func (l *Lives) place(ctx context.Context, id domain.ID, life *domain.EventLife) (bool, error) {
	var since time.Time
	var stage domain.Stage
	var fault, rival string
	var turn *[16]byte
	scan := stored.NewScan(&life.State, &since, &stage, &fault, &rival, &turn, &life.HeldBehind)
	err := l.db.Pool().QueryRow(ctx, lifeSQL, [16]byte(id)).Scan(scan.Targets...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	life.Event = scan.Event()
	if turn != nil {
		life.TurnOf = *turn
	}
	switch life.State {
	case domain.StateHeld:
		life.HeldAt = since
	case domain.StateInFlight, domain.StateFailing:
		life.SentAt = since
	case domain.StateDead:
		life.DiedAt, life.Stage, life.Error = since, stage, fault
	case domain.StateSuppressed:
		life.SuppressedAt, life.Holder = since, rival
	case domain.StateCancelled:
		life.Cancelled = fault
	case domain.StatePending, domain.StateConfirmed, domain.StateGone:
	}
	return true, nil
}
