package deadletters

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Letters implements domain.DeadLetters.
type Letters struct{ db *postgres.Database }

// New returns the dead letters in db.
func New(db *postgres.Database) *Letters { return &Letters{db: db} }

var _ domain.DeadLetters = (*Letters)(nil)

var listDeadSQL = `
SELECT ` + stored.Columns + `, stage, error, died_at, coalesce(first.detail, error), coalesce(first.at, died_at),
       EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = d.id)
FROM outbox_dead d LEFT JOIN LATERAL (
    SELECT j.detail, j.at FROM outbox_journal j
    WHERE j.event_id = d.id AND j.entry IN ('refused', 'failed', 'died') ORDER BY j.at LIMIT 1
) AS first ON true
WHERE ` + deadFilterSQL + ` AND (d.died_at, d.id) > ($27, $28::uuid)
ORDER BY d.died_at, d.id
LIMIT $29`

// List implements domain.DeadLetters.
func (l *Letters) List(ctx context.Context, filter domain.DeadFilter, after domain.Cursor, limit int) ([]domain.DeadLetter, error) {
	const doing = "list dead letters"
	rows, err := l.db.Pool().Query(ctx, listDeadSQL, append(deadArgs(filter), after.Due, [16]byte(after.ID), limit)...)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	defer rows.Close()
	var list []domain.DeadLetter
	var dead domain.DeadLetter
	scan := stored.NewScan(&dead.Stage, &dead.Error, &dead.DiedAt, &dead.FirstError, &dead.FirstFailedAt, &dead.HoldsKey)
	for rows.Next() {
		if err := rows.Scan(scan.Targets...); err != nil {
			return nil, postgres.Translate(err, doing)
		}
		dead.Event = scan.Event()
		list = append(list, dead)
	}
	return list, postgres.Translate(rows.Err(), doing)
}

// maxTypesCounted and maxQueuesCounted bound how many types and queues a count names.
const (
	maxTypesCounted  = 20
	maxQueuesCounted = 1000
)

// countDeadSQL stops counting at $27 dead letters, so that it stays cheap, and says whether there is one more. 0 means no
// limit.
var countDeadSQL = `
WITH few AS MATERIALIZED (
    SELECT event_type, queue FROM outbox_dead d WHERE ` + deadFilterSQL + ` LIMIT nullif($27::bigint, 0) + 1
)
SELECT coalesce(sum(n) FILTER (WHERE of_type), 0)::bigint, count(*) FILTER (WHERE of_type),
       (array_agg(event_type ORDER BY n DESC, event_type) FILTER (WHERE of_type))[:$28], (array_agg(n ORDER BY n DESC, event_type) FILTER (WHERE of_type))[:$28],
       (array_agg(queue ORDER BY n DESC, queue) FILTER (WHERE NOT of_type))[:$29], (array_agg(n ORDER BY n DESC, queue) FILTER (WHERE NOT of_type))[:$29],
       clock_timestamp(), $27 > 0 AND (SELECT count(*) FROM few) > $27
FROM (
    SELECT event_type, queue, grouping(event_type) = 0 AS of_type, count(*) AS n
    FROM (SELECT * FROM few LIMIT nullif($27, 0)) AS counted
    GROUP BY GROUPING SETS ((event_type), (queue))
) AS counts`

// Count implements domain.DeadLetters.
func (l *Letters) Count(ctx context.Context, filter domain.DeadFilter, limit int, patience time.Duration) (c domain.DeadCount, err error) {
	var types, queues []string
	var ofType, inQueue []int64
	err = pgx.BeginTxFunc(ctx, l.db.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if patience > 0 {
			if _, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', $1, true)", postgres.Milliseconds(patience)); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, countDeadSQL, append(deadArgs(filter), limit, maxTypesCounted, maxQueuesCounted)...).Scan(&c.Matched, &c.Types, &types, &ofType, &queues, &inQueue, &c.At, &c.More)
	})
	if patience > 0 && postgres.SQLState(err) == postgres.Cancelled && ctx.Err() == nil {
		c.More = true
		err = l.db.Pool().QueryRow(ctx, "SELECT clock_timestamp()").Scan(&c.At)
	}
	for i, name := range types {
		c.Largest = append(c.Largest, domain.TypeCount{Type: name, Count: ofType[i]})
	}
	for i, name := range queues {
		c.Queues = append(c.Queues, domain.QueueCount{Queue: name, Count: inQueue[i]})
	}
	return c, postgres.Translate(err, "count dead letters")
}

// A dead letter with an older generation was written before the replay, so it does not
// count.
var outcomesSQL = `
SELECT count(*) FILTER (WHERE confirmed), count(*) FILTER (WHERE dead AND NOT confirmed), count(*) FILTER (WHERE NOT dead AND NOT confirmed)
FROM (
    SELECT EXISTS (SELECT FROM outbox_dead d WHERE d.id = r.id AND d.generation >= r.generation) AS dead,
           EXISTS (SELECT FROM inbox i WHERE i.event_id = r.id)
           OR r.event_type = ANY ($4::text[]) AND NOT ` +
	stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateDead).Have("r.id") + ` AS confirmed
    FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS r (id, generation, event_type)
) AS replayed`

// Outcomes implements domain.DeadLetters.
func (l *Letters) Outcomes(ctx context.Context, events []domain.Replayed, unconfirmed []string) (domain.ReplayOutcomes, error) {
	var outcomes domain.ReplayOutcomes
	var ids [][16]byte
	var generations []int
	var types []string
	for _, e := range events {
		ids, generations, types = append(ids, e.ID), append(generations, e.Generation), append(types, e.Type)
	}
	err := l.db.Pool().QueryRow(ctx, outcomesSQL, ids, generations, types, append([]string{}, unconfirmed...)).Scan(&outcomes.Confirmed, &outcomes.Dead, &outcomes.Open)
	return outcomes, postgres.Translate(err, "look at what became of replayed events")
}

// SKIP LOCKED skips the dead letters that another command is replaying or discarding.
var chosenDeadSQL = `
WITH chosen AS MATERIALIZED (
    SELECT d.id FROM outbox_dead d WHERE ` + deadFilterSQL + ` ORDER BY d.died_at, d.id LIMIT $27 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM outbox_dead WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING *
), noted AS (
    INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, 'person', $28, generation, $29 FROM gone
)`

// discardSQL also marks the Asynq tasks that the discarded events may have as void.
// The leader deletes void tasks.
var discardSQL = chosenDeadSQL + `, void AS (
    INSERT INTO outbox_void_tasks AS v (event_id, queue, generation) SELECT id, queue, generation FROM gone
    ON CONFLICT (event_id) DO UPDATE SET generation = greatest(v.generation, excluded.generation), removed_at = NULL
), entered AS (
    INSERT INTO outbox_account AS a (day, event_type, discarded)
    SELECT (created_at AT TIME ZONE 'UTC')::date, event_type, count(*) FROM gone GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, event_type) DO UPDATE SET discarded = a.discarded + excluded.discarded
)
SELECT id FROM gone`

// An event that has only deliveries counts as confirmed once all of them have ended. A
// delivery ends when it is confirmed, discarded, cancelled or erased.
const deliveriesEndedSQL = `SELECT outbox_delivery_ended(id) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS ended`

// Discard implements domain.DeadLetters.
func (l *Letters) Discard(ctx context.Context, action *domain.Action, filter domain.DeadFilter, limit int) (int, error) {
	var ids [][16]byte
	err := stored.Step(ctx, l.db, "discard", action, func(tx pgx.Tx) (n int64, err error) {
		ids, err = l.discardIn(ctx, tx, action, filter, limit)
		return int64(len(ids)), err
	})
	if err != nil {
		return 0, postgres.Translate(err, "discard dead letters")
	}
	return len(ids), nil
}

func (l *Letters) discardIn(ctx context.Context, tx pgx.Tx, action *domain.Action, filter domain.DeadFilter, limit int) (ids [][16]byte, err error) {
	rows, err := tx.Query(ctx, discardSQL, append(deadArgs(filter), limit, "discarded", stored.ByWhom(l.db, action))...)
	if err != nil {
		return nil, err
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[[16]byte]); err != nil {
		return nil, err
	}
	if _, err = tx.Exec(ctx, deliveriesEndedSQL, ids); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, stored.PassEndedTurnsSQL, ids)
	return ids, err
}
