package stored

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

const (
	recordActionSQL = `INSERT INTO outbox_actions (actor, action, filter, reason, events, outcome, cause) VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7) RETURNING id`
	growActionSQL   = `UPDATE outbox_actions SET events = events + $2 WHERE id = $1`
	endActionSQL    = `UPDATE outbox_actions SET outcome = $2, cause = $3 WHERE id = $1`
)

// endPatience bounds the recording of how an action ended.
const endPatience = 5 * time.Second

// Act carries out a person's action in one transaction, which also records the action as done. The function work
// returns how many events it changed.
func Act(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, work func(tx pgx.Tx) (int64, error)) error {
	return act(ctx, d, kind, action, domain.OutcomeDone, work)
}

// Step carries out one step of an action that has several. The step's transaction also records the action, or adds to
// its number of events. An action that changed no event is recorded too. End follows the last step.
func Step(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, work func(tx pgx.Tx) (int64, error)) error {
	return act(ctx, d, kind, action, "", work)
}

func act(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, outcome domain.ActionOutcome, work func(tx pgx.Tx) (int64, error)) error {
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
		id, err = record(ctx, d, tx, kind, action, events, outcome, "")
		return err
	})
	if err == nil {
		action.ID = id
	}
	return err
}

// Begin records an action whose steps follow in other transactions, which any process may carry out. The last of them
// calls EndIn.
func Begin(ctx context.Context, d *postgres.Database, tx pgx.Tx, kind string, action *domain.Action) (domain.ID, error) {
	return record(ctx, d, tx, kind, action, 0, "", "")
}

// Record implements domain.ActionRecords.
func Record(ctx context.Context, d *postgres.Database, kind string, action *domain.Action, events int64, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	outcome, why := domain.OutcomeOf(cause)
	var id domain.ID
	err := pgx.BeginFunc(ctx, d.Pool(), func(tx pgx.Tx) (err error) {
		id, err = record(ctx, d, tx, kind, action, events, outcome, why)
		return err
	})
	if err == nil {
		action.ID = id
	}
	return postgres.Translate(err, "record the action "+kind)
}

func record(ctx context.Context, d *postgres.Database, tx pgx.Tx, kind string, action *domain.Action, events int64, outcome domain.ActionOutcome, cause string) (id domain.ID, err error) {
	filter, err := json.Marshal(storableAll(d, action.Filter))
	if err != nil {
		return id, fmt.Errorf("encode the filter: %w", err)
	}
	return id, tx.QueryRow(ctx, recordActionSQL, d.Storable(action.Actor), kind, string(filter), d.Storable(action.Reason), events, string(outcome), d.Storable(cause)).Scan((*[16]byte)(&id))
}

// End implements domain.ActionEnds.
func End(ctx context.Context, d *postgres.Database, action *domain.Action, err error) error {
	if action.ID.IsZero() {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	unrecorded := pgx.BeginFunc(ctx, d.Pool(), func(tx pgx.Tx) error { return EndIn(ctx, d, tx, action.ID, err) })
	if err == nil && unrecorded != nil {
		return fmt.Errorf("everything is done, but the record does not say so: %w", postgres.Translate(unrecorded, "record how an action ended"))
	}
	return err
}

// EndIn records in a transaction how an action ended; see domain.ActionEnds.
func EndIn(ctx context.Context, d *postgres.Database, tx pgx.Tx, id domain.ID, err error) error {
	outcome, cause := domain.OutcomeOf(err)
	_, failed := tx.Exec(ctx, endActionSQL, [16]byte(id), string(outcome), d.Storable(cause))
	return failed
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
