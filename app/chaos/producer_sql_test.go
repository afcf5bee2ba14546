package chaos

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const committedSQL = `SELECT count(*) FROM chaos.ledger WHERE producer = $1`

// The statement notes events in the ledger, and numbers those of each ordering key. The numbers are
// taken after the events were written. So if two transactions of a key did not wait for each other
// when they wrote events, the numbers may differ from outboxd's order, and the run reports a
// disorder.
const ledgerEntrySQL = `
WITH written AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::boolean[], $6::text[]) WITH ORDINALITY AS w (id, key, seq, ordered, type, place)
), taken AS (
    UPDATE chaos.turns t SET last = last + n
    FROM (SELECT key, count(*) AS n FROM written WHERE ordered GROUP BY key) w
    WHERE t.key = w.key
    RETURNING t.key, t.last - n AS before
)
INSERT INTO chaos.ledger (event_id, producer, key, seq, type, turn)
SELECT id, $1, nullif(key, ''), seq, type, CASE WHEN ordered THEN before + row_number() OVER (PARTITION BY ordered, key ORDER BY place) END
FROM written LEFT JOIN taken USING (key)`

// ledgerEntry is the statement that notes events, to be run in the transaction
// that writes them.
func ledgerEntry(producer string, events []entry) (sql string, args []any) {
	ids, keys, seqs, ordered, types := make([][16]byte, len(events)), make([]string, len(events)), make([]int64, len(events)), make([]bool, len(events)), make([]string, len(events))
	for i, e := range events {
		ids[i], keys[i], seqs[i], ordered[i], types[i] = e.ID, e.Content.Key, e.Content.Seq, e.Ordered, e.Type
	}
	return ledgerEntrySQL, []any{producer, ids, keys, seqs, ordered, types}
}

// sqlWriter produces as any program does that speaks SQL.
type sqlWriter struct {
	pool  *pgxpool.Pool
	write func(ctx context.Context, tx pgx.Tx, events []entry) error
}

func openSQL(ctx context.Context, url string, write func(context.Context, pgx.Tx, []entry) error) (writer, error) {
	pool, err := pgxpool.New(ctx, url+"&search_path="+schema+"&connect_timeout=5&application_name=producer&pool_max_conns=1")
	if err != nil {
		return nil, fmt.Errorf("open the producer's database: %w", err)
	}
	return sqlWriter{pool, write}, nil
}

func openEmit(ctx context.Context, url string) (writer, error) { return openSQL(ctx, url, writeByEmit) }

func openInsert(ctx context.Context, url string) (writer, error) {
	return openSQL(ctx, url, writeByInsert)
}

func (w sqlWriter) transact(ctx context.Context, producer string, events []entry, changes []change, undo bool) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // after a commit it does nothing
	if err := w.write(ctx, tx, events); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	sql, args := ledgerEntry(producer, events)
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	for _, c := range changes {
		sql, args := c.statement()
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("%s: %w", c.what(), err)
		}
	}
	if undo {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

func (w sqlWriter) committed(ctx context.Context, producer string) (n int, err error) {
	if err := w.pool.QueryRow(ctx, committedSQL, producer).Scan(&n); err != nil {
		return 0, fmt.Errorf("count what has committed: %w", err)
	}
	return n, nil
}

// writeByEmit calls the function that outboxd offers, event by event.
func writeByEmit(ctx context.Context, tx pgx.Tx, events []entry) error {
	var calls pgx.Batch
	for i := range events {
		e := &events[i]
		calls.Queue(`SELECT outboxd.emit($1, $2::jsonb, ordering_key => nullif($3, ''), in_commit_order => true, queue => $4, available_at => now() + $5 * interval '1 second')`,
			e.Type, string(e.payload()), e.orderingKey(), e.queue(), e.Delay.Seconds()).QueryRow(func(row pgx.Row) error {
			return row.Scan((*[16]byte)(&e.ID))
		})
	}
	return tx.SendBatch(ctx, &calls).Close()
}

// writeByInsert writes all events by one statement. It asks for the IDs before, because
// INSERT need not return its rows in the order of the payloads.
func writeByInsert(ctx context.Context, tx pgx.Tx, events []entry) error {
	for _, key := range orderingKeysOf(events) {
		if _, err := tx.Exec(ctx, `SELECT outboxd.lock_key($1)`, key); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, `SELECT outbox_new_id() FROM generate_series(1, $1)`, len(events))
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil {
		return err
	}
	payloads, keys, types, names, delays := make([][]byte, len(events)), make([]string, len(events)), make([]string, len(events)), make([]string, len(events)), make([]float64, len(events))
	for i := range events {
		e := &events[i]
		e.ID = ids[i]
		payloads[i], keys[i], types[i], names[i], delays[i] = e.payload(), e.orderingKey(), e.Type, e.queue(), e.Delay.Seconds()
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (id, event_type, payload, ordering_key, queue, available_at)
SELECT id, type, payload, nullif(key, ''), queue, now() + delay * interval '1 second'
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::float8[]) WITH ORDINALITY AS written (id, payload, key, type, queue, delay, place) ORDER BY place`,
		ids, payloads, keys, types, names, delays)
	return err
}
