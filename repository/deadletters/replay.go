package deadletters

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// A replay clears a deadline that has passed, because the new task would fail at once. A
// replay also clears the event's uniqueness option: the old task may still hold the lock,
// and Asynq would refuse the new task. If a producer wrote the event again and that row
// still waits in the outbox, the two rows become one.
var replaySQL = chosenDeadSQL + `, back AS (
    INSERT INTO outbox AS o (` + stored.Columns + `)
    SELECT ` + stored.ColumnsWith(map[string]string{
	"deadline":       "CASE WHEN deadline > clock_timestamp() THEN deadline END",
	"unique_seconds": "NULL::integer",
	"available_at":   "clock_timestamp()",
	"attempts":       "0",
	"generation":     "generation + 1",
	"last_error":     "NULL::text",
}) + `
    FROM gone
    ON CONFLICT (id) DO UPDATE SET generation = greatest(o.generation, excluded.generation)
    RETURNING id, xmax::text <> '0' AS repeats
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM gone JOIN back USING (id) WHERE repeats
)
SELECT id, generation + 1, event_type FROM gone ORDER BY died_at, id`

// movingSQL says that events which this transaction inserts into the outbox return there:
// the account does not count them as emitted again.
const movingSQL = `SELECT set_config('outboxd.moving', 'on', true)`

// Replay implements domain.DeadLetters. If the outbox refuses one event of a batch,
// Replay tries smaller batches until one succeeds or until it has found that event.
func (l *Letters) Replay(ctx context.Context, action *domain.Action, filter domain.DeadFilter, limit int) ([]domain.Replayed, error) {
	const doing = "replay dead letters"
	for ; limit > 1; limit /= 2 {
		replayed, err := l.replay(ctx, action, filter, limit)
		if !stored.IsOfRow(err) || postgres.IsFleeting(err) {
			return replayed, postgres.Translate(err, doing)
		}
	}
	replayed, refused, err := l.replayOne(ctx, action, filter)
	if refused != nil {
		return nil, refused
	}
	return replayed, postgres.Translate(err, doing)
}

func (l *Letters) replay(ctx context.Context, action *domain.Action, filter domain.DeadFilter, limit int) (replayed []domain.Replayed, err error) {
	err = stored.Step(ctx, l.db, "replay", action, func(tx pgx.Tx) (int64, error) {
		replayed, err = l.replayIn(ctx, tx, action, filter, limit)
		return int64(len(replayed)), err
	})
	if err != nil {
		return nil, err
	}
	crashpoint.Reach(crashpoint.ReplayCommitted)
	return replayed, nil
}

func (l *Letters) replayIn(ctx context.Context, tx pgx.Tx, action *domain.Action, filter domain.DeadFilter, limit int) ([]domain.Replayed, error) {
	if _, err := tx.Exec(ctx, movingSQL); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, replaySQL, append(deadArgs(filter), limit, "replayed", stored.ByWhom(l.db, action))...)
	if err != nil {
		return nil, err
	}
	replayed, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r domain.Replayed, err error) {
		err = row.Scan((*[16]byte)(&r.ID), &r.Generation, &r.Type)
		return r, err
	})
	crashpoint.Reach(crashpoint.ReplayWritten)
	return replayed, err
}

// firstDeadSQL selects the dead letter that chosenDeadSQL would take first.
var firstDeadSQL = `
SELECT d.id FROM outbox_dead d WHERE ` + deadFilterSQL + ` ORDER BY d.died_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED`

// replayOne replays one event. refused names the event if the outbox refuses it.
func (l *Letters) replayOne(ctx context.Context, action *domain.Action, filter domain.DeadFilter) (replayed []domain.Replayed, refused *domain.ReplayRefused, err error) {
	err = stored.Step(ctx, l.db, "replay", action, func(tx pgx.Tx) (int64, error) {
		var id domain.ID
		switch err := tx.QueryRow(ctx, firstDeadSQL, deadArgs(filter)...).Scan((*[16]byte)(&id)); {
		case errors.Is(err, pgx.ErrNoRows):
			return 0, nil
		case err != nil:
			return 0, err
		}
		filter.IDs = []domain.ID{id}
		var err error
		if replayed, err = l.replayIn(ctx, tx, action, filter, 1); stored.IsOfRow(err) && !postgres.IsFleeting(err) {
			refused = &domain.ReplayRefused{ID: id, Cause: err}
		}
		return int64(len(replayed)), err
	})
	if err != nil {
		return nil, refused, err
	}
	crashpoint.Reach(crashpoint.ReplayCommitted)
	return replayed, nil, nil
}
