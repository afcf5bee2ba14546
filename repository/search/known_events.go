package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// KnownEvents tells this database's events from events of other databases that use the
// same Redis.
type KnownEvents struct {
	db      *postgres.Database
	history time.Duration
}

// NewKnownEvents returns the KnownEvents of db. history is how long the
// database keeps its history; 0: it keeps none.
func NewKnownEvents(db *postgres.Database, history time.Duration) *KnownEvents {
	return &KnownEvents{db, history}
}

// knownSQL looks into an index once for each ID, each table and each partition of the
// history.
var knownSQL = `
SELECT id FROM unnest($1::uuid[]) AS asked (id)
WHERE ` + stored.Places.Have("asked.id") + ` OR EXISTS (SELECT FROM inbox i WHERE i.event_id = asked.id)`

// Among returns those of the IDs that are, or may have been, events of this database. If
// there is no history, or if an ID is older than the history, outboxd cannot know whose
// event it is. Then Among returns the ID too.
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
