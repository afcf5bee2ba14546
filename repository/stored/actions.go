package stored

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

const (
	beginActionSQL = `INSERT INTO outbox_actions (actor, action, filter, reason, events) VALUES ($1, $2, $3, $4, $5) RETURNING id`
	growActionSQL  = `UPDATE outbox_actions SET events = events + $2 WHERE id = $1`
)

// Act is called for each batch of a person's action: it makes the changes and records the
// action in the same transaction. An action that changed no event is recorded too, once.
func Act(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, work func(tx pgx.Tx) (int64, error)) error {
	id := action.ID
	err := pgx.BeginFunc(ctx, d.Pool(), func(tx pgx.Tx) error {
		events, err := work(tx)
		if err != nil {
			return err
		}
		if !id.IsZero() {
			_, err := tx.Exec(ctx, growActionSQL, [16]byte(id), events)
			return err
		}
		id, err = Record(ctx, d, tx, kind, action, events)
		return err
	})
	if err == nil {
		action.ID = id
	}
	return err
}

// Record writes an action, or one batch of it, as a record of its own.
func Record(ctx context.Context, d *postgres.Database, tx pgx.Tx, kind string, action *domain.Action, events int64) (id domain.ID, err error) {
	filter, err := json.Marshal(storableAll(d, action.Filter))
	if err != nil {
		return id, fmt.Errorf("encode the filter: %w", err)
	}
	return id, tx.QueryRow(ctx, beginActionSQL, d.Storable(action.Actor), kind, string(filter), d.Storable(action.Reason), events).Scan((*[16]byte)(&id))
}

// ByWhom returns the text with which the journal describes an action: who did it and why.
func ByWhom(d *postgres.Database, action *domain.Action) string {
	if action.Reason == "" {
		return d.Storable("by " + action.Actor)
	}
	return d.Storable("by " + action.Actor + ": " + action.Reason)
}

func storableAll(d *postgres.Database, filter map[string]string) map[string]string {
	clean := make(map[string]string, len(filter))
	for name, value := range filter {
		clean[name] = d.Storable(value)
	}
	return clean
}
