package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// EventLives is the domain.EventLives.
type EventLives struct{ db *postgres.Database }

var _ domain.EventLives = (*EventLives)(nil)

// NewEventLives returns the lives of the events in db.
func NewEventLives(db *postgres.Database) *EventLives { return &EventLives{db: db} }

// One statement, so that an event which is just being moved is seen once.
var lifeSQL = `
SELECT ` + eventColumns + `, place, moved_at, stage, error,
       ` + holderSQL("e.ordering_key", "e.ordering_position") + `,
       (SELECT count(*) FROM (SELECT FROM outbox_held h WHERE h.ordering_key = e.ordering_key LIMIT 1000) AS waiting)
FROM (
    SELECT ` + eventColumns + `, 'pending' AS place, NULL::timestamptz AS moved_at, '' AS stage, '' AS error FROM outbox WHERE id = $1
    UNION ALL SELECT ` + eventColumns + `, 'held', held_at, '', '' FROM outbox_held WHERE id = $1
    UNION ALL SELECT ` + eventColumns + `, 'sent', sent_at, '', '' FROM outbox_sent WHERE id = $1
    UNION ALL SELECT ` + eventColumns + `, 'dead', died_at, stage, error FROM outbox_dead WHERE id = $1
    UNION ALL SELECT ` + eventColumns + `, 'suppressed', suppressed_at, '', holder FROM outbox_suppressed WHERE id = $1
) AS e ORDER BY generation DESC LIMIT 1`

const lifeJournalSQL = `SELECT at, stage, entry, generation, attempt, detail FROM outbox_journal WHERE event_id = $1 ORDER BY at`

// Find implements domain.EventLives.
func (l *EventLives) Find(ctx context.Context, id domain.ID) (*domain.EventLife, error) {
	doing := fmt.Sprintf("look for event %s", id)
	life := &domain.EventLife{Place: domain.PlaceGone}
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
	}
	rows, err := l.db.Pool().Query(ctx, lifeJournalSQL, [16]byte(id))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if life.Journal, err = pgx.CollectRows(rows, pgx.RowToStructByPos[domain.JournalEntry]); err != nil {
		return nil, postgres.Translate(err, doing)
	}
	if !found && confirmed == nil && len(life.Journal) == 0 {
		return nil, domain.Errorf(domain.CodeNotFound, "there is no event %s", id)
	}
	return life, nil
}

func (l *EventLives) place(ctx context.Context, id domain.ID, life *domain.EventLife) (bool, error) {
	var moved *time.Time
	var turn *[16]byte
	scan := newEventScan(&life.Place, &moved, &life.Stage, &life.Error, &turn, &life.HeldBehind)
	err := l.db.Pool().QueryRow(ctx, lifeSQL, [16]byte(id)).Scan(scan.columns...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	life.Event = scan.event()
	if turn != nil {
		life.TurnOf = *turn
	}
	if moved != nil {
		switch life.Place {
		case domain.PlaceHeld:
			life.HeldAt = *moved
		case domain.PlaceSent:
			life.SentAt = *moved
		case domain.PlaceDead:
			life.DiedAt = *moved
		case domain.PlaceSuppressed:
			life.SuppressedAt, life.Holder, life.Error = *moved, life.Error, ""
		case domain.PlacePending, domain.PlaceGone:
		}
	}
	return true, nil
}
