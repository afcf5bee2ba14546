package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Lives implements lives.Reader.
type Lives struct {
	db       *postgres.Database
	patience time.Duration // of one search
}

var _ lives.Reader = (*Lives)(nil)

// NewLives returns the Lives of db. A search reads for about lives.CommandPatience
// at most.
func NewLives(db *postgres.Database) *Lives { return &Lives{db, lives.CommandPatience} }

// Within returns Lives whose searches read for about that patience at most.
func (l *Lives) Within(patience time.Duration) *Lives { return &Lives{l.db, patience} }

// lifeSQL is one statement, so it finds an event in one place only, even if the
// event moves at the same time.
var lifeSQL = `
SELECT ` + stored.Columns + `, state, since, stage, error, rival,
       ` + holderSQL("e") + `, ` + replayingSQL("e") + `,
       (SELECT count(*) FROM (SELECT FROM outbox_held h WHERE h.ordering_key = e.ordering_key LIMIT 1000) AS waiting)
FROM (
    ` + stored.Places.Union(`SELECT `+stored.Columns+`, {state} AS state, `+stored.Within("{since}")+` AS since, {stage} AS stage, {error} AS error, {rival} AS rival FROM {table} WHERE id = $1`) + `
) AS e ORDER BY generation DESC LIMIT 1`

const lifeJournalSQL = `SELECT at, stage, entry, generation, attempt, detail, sent_at FROM outbox_journal WHERE event_id = $1 ORDER BY at`

// Find implements lives.Reader.
func (l *Lives) Find(ctx context.Context, id domain.ID) (*lives.Life, error) {
	doing := fmt.Sprintf("look for event %s", id)
	life := &lives.Life{State: lives.StateGone}
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
		case lives.StateDead:
		case lives.StateCancelled: // the cancellation wrote the row of the inbox
			life.ConfirmedAt = time.Time{}
		default:
			life.State = lives.StateConfirmed
		}
	}
	rows, err := l.db.Pool().Query(ctx, lifeJournalSQL, [16]byte(id))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if life.Journal, err = pgx.CollectRows(rows, pgx.RowToStructByPos[lives.JournalEntry]); err != nil {
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

func (l *Lives) place(ctx context.Context, id domain.ID, life *lives.Life) (bool, error) {
	var since time.Time
	var stage domain.Stage
	var fault, rival string
	var turn *[16]byte
	scan := stored.NewScan(&life.State, &since, &stage, &fault, &rival, &turn, &life.Replaying, &life.HeldBehind)
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
	case lives.StateHeld:
		life.HeldAt = since
	case lives.StateInFlight, lives.StateFailing:
		life.SentAt = since
	case lives.StateDead:
		life.DiedAt, life.Stage, life.Error = since, stage, fault
	case lives.StateSuppressed:
		life.SuppressedAt, life.Holder = since, rival
	case lives.StateCancelled:
		life.Cancelled = fault
	case lives.StatePending, lives.StateConfirmed, lives.StateGone:
	}
	return true, nil
}
