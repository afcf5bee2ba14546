package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// KnownEvents tells the events of this database from others.
type KnownEvents struct {
	db      *postgres.Database
	history time.Duration
}

// NewKnownEvents returns the events of a database that keeps a history for that
// long; 0: none.
func NewKnownEvents(db *postgres.Database, history time.Duration) *KnownEvents {
	return &KnownEvents{db, history}
}

// One look into an index for each ID and table, and partition of the history.
var knownSQL = `
SELECT id FROM unnest($1::uuid[]) AS asked (id)
WHERE ` + stored.Places.Have("asked.id") + ` OR EXISTS (SELECT FROM inbox i WHERE i.event_id = asked.id)`

// Among returns those of the IDs that are events here, or may have been: without
// a history, or by an ID that is older than it, nobody can tell.
//
// Errors: domain.CodeUnavailable.
func (k *KnownEvents) Among(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	if k.history <= 0 {
		return ids, nil
	}
	const doing = "look which tasks are of events here"
	rows, err := k.db.Pool().Query(ctx, knownSQL, postgres.UUIDs(ids))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	known, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id domain.ID, err error) {
		err = row.Scan((*[16]byte)(&id))
		return id, err
	})
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	began := time.Now().Add(-k.history)
	for _, id := range ids {
		if made, told := id.Time(); told && made.Before(began) {
			known = append(known, id)
		}
	}
	return known, nil
}
