package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is the pool of connections. Behind a pooler such as PgBouncer, Query, QueryRow and
// Exec wrap a statement in a transaction that first sets outboxd's settings, in one round
// trip. Without a pooler, they do the same as in pgxpool.Pool.
type Pool struct {
	*pgxpool.Pool
	pinned bool
	pins   string
}

// pinnedBegin names every property of the transaction, because the defaults of the
// session may differ.
const pinnedBegin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE"

// Query replaces the method of pgxpool.Pool.
func (s *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if !s.pinned {
		return s.Pool.Query(ctx, sql, args...)
	}
	conn, err := s.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	rows := s.queryOn(ctx, conn.Conn(), sql, args)
	rows.release = conn.Release
	if err := rows.Err(); err != nil {
		rows.Close()
		return rows, err
	}
	return rows, nil
}

// QueryRow replaces the method of pgxpool.Pool.
func (s *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if !s.pinned {
		return s.Pool.QueryRow(ctx, sql, args...)
	}
	rows, err := s.Query(ctx, sql, args...)
	return pinnedRow{rows, err}
}

// Exec replaces the method of pgxpool.Pool.
func (s *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if !s.pinned {
		return s.Pool.Exec(ctx, sql, args...)
	}
	rows, err := s.Query(ctx, sql, args...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// Begin replaces the method of pgxpool.Pool.
func (s *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return s.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx replaces the method of pgxpool.Pool.
func (s *Pool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	return s.Pool.BeginTx(ctx, s.begin(o))
}

func (s *Pool) begin(o pgx.TxOptions) pgx.TxOptions {
	if !s.pinned {
		return o
	}
	level, mode := "READ COMMITTED", "READ WRITE"
	if o.IsoLevel != "" {
		level = string(o.IsoLevel)
	}
	if o.AccessMode != "" {
		mode = string(o.AccessMode)
	}
	o.BeginQuery = "BEGIN ISOLATION LEVEL " + level + " " + mode + " NOT DEFERRABLE; " + s.pins
	return o
}

// QueueBegin adds to steps the statements that begin a transaction.
func (s *Pool) QueueBegin(steps *pgx.Batch) {
	if !s.pinned {
		steps.Queue("BEGIN")
		return
	}
	steps.Queue(pinnedBegin)
	steps.Queue(s.pins)
}

// QueryRowOn does what QueryRow does, on a connection that the caller has taken from the
// pool.
func (s *Pool) QueryRowOn(ctx context.Context, conn *pgx.Conn, sql string, args ...any) pgx.Row {
	if !s.pinned {
		return conn.QueryRow(ctx, sql, args...)
	}
	rows := s.queryOn(ctx, conn, sql, args)
	return pinnedRow{rows, rows.Err()}
}

func (s *Pool) queryOn(ctx context.Context, conn *pgx.Conn, sql string, args []any) *pinnedRows {
	var steps pgx.Batch
	s.QueueBegin(&steps)
	begun := steps.Len()
	steps.Queue(sql, args...)
	steps.Queue("COMMIT")
	rows := &pinnedRows{ctx: ctx, conn: conn, results: conn.SendBatch(ctx, &steps), release: func() {}}
	for range begun {
		if _, err := rows.results.Exec(); err != nil {
			rows.err = err
			return rows
		}
	}
	rows.Rows, rows.err = rows.results.Query()
	return rows
}

// pinnedRows are the rows of a statement in a transaction of its own. The transaction
// ends when the rows are closed.
type pinnedRows struct {
	pgx.Rows // nil: the statement was not executed
	ctx      context.Context
	conn     *pgx.Conn
	results  pgx.BatchResults
	release  func()
	err      error
	closed   bool
}

// Next implements pgx.Rows.
func (r *pinnedRows) Next() bool {
	if r.closed || r.Rows == nil {
		return false
	}
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Err implements pgx.Rows. After Close, Err also returns an error of the commit.
func (r *pinnedRows) Err() error {
	if r.err == nil && r.Rows != nil {
		return r.Rows.Err()
	}
	return r.err
}

// Close implements pgx.Rows.
func (r *pinnedRows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	if r.Rows != nil {
		r.Rows.Close()
	}
	if r.Err() == nil {
		var tag pgconn.CommandTag
		if tag, r.err = r.results.Exec(); r.err == nil && tag.String() != "COMMIT" {
			r.err = errors.New("the transaction was rolled back")
		}
	}
	if err := r.results.Close(); r.Err() == nil {
		r.err = err
	}
	if !r.conn.IsClosed() && r.conn.PgConn().TxStatus() != 'I' {
		_, _ = r.conn.Exec(r.ctx, "ROLLBACK")
	}
	r.release()
}

// pinnedRow returns the first row of pinnedRows.
type pinnedRow struct {
	rows pgx.Rows
	err  error
}

// Scan implements pgx.Row.
func (r pinnedRow) Scan(into ...any) error {
	if r.rows == nil {
		return r.err
	}
	defer r.rows.Close()
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(into...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
