package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// The claim has already moved all of its events out of the outbox, which is right for the
// published ones. The statements in this file settle the other events. They put these
// events back into the outbox, or move them to the dead letters or to the suppressed
// events. settle inserts the events as this process has them in memory, because without a
// history no table has them.

// unclaimSQL deletes rows that claimWithHistorySQL inserted. sent_at is the start of the
// transaction, and PostgreSQL finds the partition by it.
const unclaimSQL = `DELETE FROM outbox_sent WHERE sent_at = now() AND id = ANY($1::uuid[])`

// putBackSQL uses clock_timestamp(), because a delay counts from the failure, and now()
// is the time of the claim. An event without a delay keeps its due time.
var putBackSQL = `
INSERT INTO outbox (` + stored.Columns + `)
SELECT ` + stored.ColumnsWith(map[string]string{
	"available_at": "coalesce(clock_timestamp() + delay_ms * interval '1 millisecond', available_at)",
	"split":        stored.Met,
}) + `
FROM ` + stored.Unnest + stored.Beside + `::bigint[]) AS back (` + stored.Columns + `, delay_ms)`

// A producer may write a dead event again, and it may die again. If a dead event dies
// again, its dead letter is updated, and the account counts the second row as a repeat.
var deadSQL = `
WITH given AS MATERIALIZED (
    SELECT * FROM ` + stored.Unnest + stored.Beside + `::text[]) AS given (` + stored.Columns + `, error)
), dead AS (
    INSERT INTO outbox_dead (` + stored.Columns + `, error, stage, died_at)
    SELECT ` + stored.ColumnsWith(map[string]string{"split": stored.Met}) + `, error, 'relay', clock_timestamp() FROM given
    ON CONFLICT (id) DO UPDATE
    SET generation = excluded.generation, attempts = excluded.attempts, last_error = excluded.last_error,
        stage = excluded.stage, error = excluded.error, died_at = excluded.died_at
    RETURNING id, xmax::text <> '0' AS repeats
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM given JOIN dead USING (id) WHERE repeats
)
SELECT FROM dead`

// If a producer wrote a suppressed event again, the second row has no effect, and the
// account counts it as a repeat. The statement returns as many rows as it was given.
var suppressSQL = `
WITH given AS MATERIALIZED (
    SELECT * FROM ` + stored.Unnest + stored.Beside + `::text[]) AS g (` + stored.Columns + `, holder)
), aside AS (
    INSERT INTO outbox_suppressed (` + stored.Columns + `, holder) SELECT * FROM given
    ON CONFLICT (id) DO NOTHING RETURNING id
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM given WHERE id NOT IN (SELECT id FROM aside)
)
SELECT FROM given`

// Commit implements domain.Batch.
func (b *batch) Commit(ctx context.Context, outcomes []domain.Outcome) error {
	const doing = "commit a batch"
	if len(outcomes) != len(b.events) {
		return fmt.Errorf("%s: %d outcomes for %d events", doing, len(outcomes), len(b.events))
	}
	outcomes, err := b.settleSafely(ctx, outcomes)
	if err != nil {
		return postgres.TranslateWork(err, doing)
	}
	if err := b.passTurns(ctx, outcomes); err != nil {
		return postgres.TranslateWork(err, doing)
	}
	if err := b.enterUnrecorded(ctx, outcomes); err != nil {
		return postgres.TranslateWork(err, doing)
	}
	crashpoint.Reach(crashpoint.RelaySettled)
	return postgres.TranslateWork(b.end(ctx), doing)
}

func (b *batch) end(ctx context.Context) error {
	// If a statement of the transaction failed, PostgreSQL answers COMMIT with ROLLBACK and
	// reports no error.
	tag, err := b.conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	crashpoint.Reach(crashpoint.RelayCommitted)
	b.outbox.passed.end(b.tried, true)
	b.advance(ctx)
	b.giveBack()
	return nil
}

// settle undoes the claim of each event that was not published, and puts the event where
// its outcome says.
func (b *batch) settle(ctx context.Context, outcomes []domain.Outcome) error {
	var undelivered [][16]byte
	var back, dead, suppressed stored.Rows
	var delays []*int64
	var causes, holders []string
	var notes stored.Journal
	for i, o := range outcomes {
		if o.Verdict == domain.Delivered {
			continue
		}
		e := b.events[i]
		undelivered = append(undelivered, e.ID)
		if o.Verdict == domain.Suppressed {
			holders = append(holders, b.outbox.db.Storable(o.Holder))
			suppressed.Add(&e)
			continue
		}
		if o.Verdict != domain.Untried {
			e.Attempts++
		}
		if o.Verdict == domain.Dead {
			causes = append(causes, b.outbox.db.ErrorText(o.Err))
			notes.Add(&e, "died", b.outbox.db.ErrorText(o.Err))
			dead.Add(&e)
			continue
		}
		var delay *int64
		if o.Verdict == domain.Refused {
			e.LastError = b.outbox.db.ErrorText(o.Err)
			notes.Add(&e, "refused", e.LastError)
			delay = new(o.Delay.Milliseconds())
		}
		delays = append(delays, delay)
		back.Add(&e)
	}
	if b.outbox.o.History && len(undelivered) > 0 {
		if err := b.execExactly(ctx, len(undelivered), unclaimSQL, undelivered); err != nil {
			return fmt.Errorf("take events out of the history: %w", err)
		}
	}
	if len(back.IDs) > 0 {
		if err := b.execExactly(ctx, len(back.IDs), putBackSQL, append(back.Args(), delays)...); err != nil {
			return fmt.Errorf("put events back: %w", err)
		}
	}
	if len(dead.IDs) > 0 {
		if err := b.execExactly(ctx, len(dead.IDs), deadSQL, append(dead.Args(), causes)...); err != nil {
			return fmt.Errorf("write dead letters: %w", err)
		}
	}
	if len(suppressed.IDs) > 0 {
		if err := b.execExactly(ctx, len(suppressed.IDs), suppressSQL, append(suppressed.Args(), holders)...); err != nil {
			return fmt.Errorf("set suppressed events aside: %w", err)
		}
	}
	if len(notes.IDs) > 0 {
		if _, err := b.conn.Exec(ctx, stored.JournalSQL, notes.Args(domain.StageRelay)...); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	return nil
}

// execExactly fails if a statement changes another number of rows than the given one:
// then an event would be lost or be there twice.
func (b *batch) execExactly(ctx context.Context, rows int, sql string, args ...any) error {
	tag, err := b.conn.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() != int64(rows) {
		err = fmt.Errorf("%d rows changed instead of %d", tag.RowsAffected(), rows)
	}
	return err
}

const unrecordedSQL = `
INSERT INTO outbox_entries (event_type, created_at, unrecorded)
SELECT event_type, date_trunc('day', created_at, 'UTC'), count(*)
FROM unnest($1::text[], $2::timestamptz[]) AS sent (event_type, created_at)
GROUP BY 1, 2`

// enterUnrecorded counts published events in the account if no history is kept.
func (b *batch) enterUnrecorded(ctx context.Context, outcomes []domain.Outcome) error {
	if b.outbox.o.History {
		return nil
	}
	var types []string
	var created []time.Time
	for i, o := range outcomes {
		if o.Verdict == domain.Delivered {
			types, created = append(types, b.events[i].Type), append(created, b.events[i].CreatedAt)
		}
	}
	if len(types) == 0 {
		return nil
	}
	if _, err := b.conn.Exec(ctx, unrecordedSQL, types, created); err != nil {
		return fmt.Errorf("enter events into the account: %w", err)
	}
	return nil
}
