package repository

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"outboxd/domain"
)

// The three endings of an attempt. Each statement takes the whole batch; the
// rows are locked by this transaction, so none waits.

// One statement moves the rows inside the server: payloads do not travel back.
const deliveredSQL = `
WITH delivered AS (DELETE FROM outbox WHERE id = ANY($1::uuid[]) RETURNING ` + eventColumns + `)
INSERT INTO outbox_sent (` + eventColumns + `)
SELECT ` + eventColumns + ` FROM delivered`

// clock_timestamp, because now() is when the claim began: a delay counts from
// the failure.
const refusedSQL = `
UPDATE outbox
SET attempts = attempts + 1,
    last_error = refused.error,
    available_at = clock_timestamp() + refused.delay_ms * interval '1 millisecond'
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS refused (id, error, delay_ms)
WHERE outbox.id = refused.id`

// A replayed event may die again under its ID.
const deadSQL = `
WITH reason AS (SELECT * FROM unnest($1::uuid[], $2::text[]) AS reason (id, error)),
     dead AS (DELETE FROM outbox WHERE id = ANY($1::uuid[]) RETURNING ` + eventColumns + `)
INSERT INTO outbox_dead (` + eventColumns + `, stage, error)
SELECT dead.id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
       retention_seconds, unique_seconds, available_at, attempts + 1, generation, last_error, created_at,
       'relay', reason.error
FROM dead JOIN reason ON reason.id = dead.id
ON CONFLICT (id) DO UPDATE
SET generation = excluded.generation, attempts = excluded.attempts, last_error = excluded.last_error,
    stage = excluded.stage, error = excluded.error, died_at = excluded.died_at`

// Settle implements domain.Batch.
func (b *batch) Settle(ctx context.Context, outcomes []domain.Outcome) error {
	const doing = "settle events"
	if len(outcomes) != len(b.events) {
		return fmt.Errorf("%s: %d outcomes for %d events", doing, len(outcomes), len(b.events))
	}
	var delivered []string
	var refused, dead failures
	for i, outcome := range outcomes {
		id := b.events[i].ID.String()
		switch outcome.Verdict {
		case domain.Delivered:
			delivered = append(delivered, id)
		case domain.Refused:
			refused.add(id, outcome)
		case domain.Dead:
			dead.add(id, outcome)
		case domain.Untried:
		}
	}
	steps := []struct {
		rows int
		sql  string
		args []any
	}{
		{len(delivered), deliveredSQL, []any{delivered}},
		{len(refused.ids), refusedSQL, []any{refused.ids, refused.errors, refused.delays}},
		{len(dead.ids), deadSQL, []any{dead.ids, dead.errors}},
	}
	for _, step := range steps {
		if step.rows == 0 {
			continue
		}
		if err := execExactly(ctx, b.tx, step.rows, step.sql, step.args...); err != nil {
			return translate(err, doing)
		}
	}
	return translate(b.tx.Commit().Error, doing)
}

// execExactly fails if a statement changed another number of rows than it was
// given: settling what is not there would be a lost or doubled event.
func execExactly(ctx context.Context, tx *gorm.DB, rows int, sql string, args ...any) error {
	result, err := statements(tx).ExecContext(ctx, sql, args...)
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if changed != int64(rows) {
		return fmt.Errorf("%d rows changed instead of %d", changed, rows)
	}
	return nil
}

// failures are the columns of refusedSQL and deadSQL.
type failures struct {
	ids, errors []string
	delays      []int64
}

func (f *failures) add(id string, o domain.Outcome) {
	text := "unknown"
	if o.Err != nil {
		text = storable(o.Err.Error())
	}
	f.ids = append(f.ids, id)
	f.errors = append(f.errors, text)
	f.delays = append(f.delays, o.Delay.Milliseconds())
}
