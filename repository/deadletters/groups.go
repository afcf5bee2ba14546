package deadletters

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// maxGroups bounds how many groups are returned.
const maxGroups = 100

// errorFormSQL is the form of an error. The index outbox_dead_group has the same expression.
// With any other expression in errorFormSQL, PostgreSQL could not use that index.
const errorFormSQL = `left(regexp_replace(error, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+', '#', 'g'), 300)`

// deadGroupsSQL groups the $27 latest dead letters that match the filter. PostgreSQL can
// read the index outbox_dead_place from the latest one on. So if most dead letters match,
// the statement reads few rows, however many dead letters there are.
//
// The form of an error is computed outside of the limit. Inside the limit, PostgreSQL
// would compute the form for every dead letter that matches, if it sorts them.
var deadGroupsSQL = `
SELECT event_type, ` + errorFormSQL + ` AS error_form, stage, count(*), min(died_at), max(died_at), sum(count(*)) OVER ()
FROM (SELECT event_type, error, stage, died_at FROM outbox_dead d WHERE ` + deadFilterSQL + ` ORDER BY died_at DESC, id DESC LIMIT $27) AS latest
GROUP BY 1, 2, 3 ORDER BY count(*) DESC, max(died_at) DESC LIMIT $28`

// Groups implements domain.DeadLetters.
func (l *Letters) Groups(ctx context.Context, filter domain.DeadFilter, limit int) ([]domain.DeadGroup, bool, error) {
	const doing = "group dead letters"
	rows, err := l.db.Pool().Query(ctx, deadGroupsSQL, append(deadArgs(filter), limit+1, maxGroups)...)
	if err != nil {
		return nil, false, postgres.Translate(err, doing)
	}
	var looked int
	groups, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g domain.DeadGroup, err error) {
		err = row.Scan(&g.Type, &g.ErrorForm, &g.Stage, &g.Count, &g.FirstDied, &g.LastDied, &looked)
		return g, err
	})
	return groups, looked > limit || len(groups) == maxGroups, postgres.Translate(err, doing)
}

const (
	actionColumns = `id, at, actor, action, filter::text, reason, events, coalesce(outcome, ''), cause`
	// Pages follow one another by time and ID, because several actions may have the same time. The first condition lets
	// the scan of the index begin at the page.
	actionsSQL = `SELECT ` + actionColumns + ` FROM outbox_actions
		WHERE at <= coalesce((SELECT at FROM outbox_actions WHERE id = $2), 'infinity')
		AND ($2::uuid IS NULL OR (at, id) < (SELECT at, id FROM outbox_actions WHERE id = $2)) ORDER BY at DESC, id DESC LIMIT $1`
	actionSQL = `SELECT ` + actionColumns + ` FROM outbox_actions WHERE id = $1`
)

func scanAction(row pgx.CollectableRow) (a domain.RecordedAction, err error) {
	err = row.Scan((*[16]byte)(&a.ID), &a.At, &a.Actor, &a.Kind, &a.Filter, &a.Reason, &a.Events, &a.Outcome, &a.Cause)
	return a, err
}

// Actions implements domain.DeadLetters.
func (l *Letters) Actions(ctx context.Context, after domain.ID, limit int) ([]domain.RecordedAction, error) {
	const doing = "list actions"
	var begin *[16]byte
	if !after.IsZero() {
		begin = (*[16]byte)(&after)
	}
	rows, err := l.db.Pool().Query(ctx, actionsSQL, limit, begin)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	actions, err := pgx.CollectRows(rows, scanAction)
	return actions, postgres.Translate(err, doing)
}

// Action implements domain.DeadLetters.
func (l *Letters) Action(ctx context.Context, id domain.ID) (*domain.RecordedAction, error) {
	const doing = "look for an action"
	rows, err := l.db.Pool().Query(ctx, actionSQL, [16]byte(id))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	found, err := pgx.CollectRows(rows, scanAction)
	switch {
	case err != nil:
		return nil, postgres.Translate(err, doing)
	case len(found) == 0:
		return nil, domain.Errorf(domain.CodeNotFound, "there is no action %s", id)
	}
	return &found[0], nil
}

var _ domain.ActionRecords = (*Letters)(nil)

// Record implements domain.ActionRecords.
func (l *Letters) Record(ctx context.Context, kind string, action *domain.Action, events int64, cause error) error {
	return stored.Record(ctx, l.db, kind, action, events, cause)
}

// End implements domain.ActionEnds.
func (l *Letters) End(ctx context.Context, action *domain.Action, err error) error {
	return stored.End(ctx, l.db, action, err)
}
