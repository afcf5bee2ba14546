package postgres

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"
)

// Opening is a statement that is sent together with BEGIN, and the statements that are
// sent together with COMMIT. So the beginning and the end of the transaction take one
// round trip each.
type Opening struct {
	SQL  string
	Args []any
	// Read reads what the statement returned. An error of Read ends the transaction.
	Read func(rows pgx.Rows) error

	begun bool
	last  pgx.Batch
}

// QueueLast adds a statement that is sent together with COMMIT and runs before it. If
// that statement fails, the commit fails too, and certainly nothing was committed.
func (o *Opening) QueueLast(query string, args ...any) { o.last.Queue(query, args...) }

// TransactOpened does what TransactOnce does, with an Opening.
func (d *Database) TransactOpened(ctx context.Context, opening *Opening, work func(tx *gorm.DB) error) (committing bool, err error) {
	tx := d.gorm.WithContext(context.WithValue(ctx, openingKey{}, opening)).Begin()
	if tx.Error != nil {
		return false, fmt.Errorf("begin: %w", tx.Error)
	}
	return commitAfter(tx.WithContext(ctx), work)
}

// openingKey is the context key by which BeginTx finds an Opening.
type openingKey struct{}

// openingOf returns the Opening in ctx whose transaction has not begun, or nil if there
// is none.
func openingOf(ctx context.Context) *Opening {
	if o, ok := ctx.Value(openingKey{}).(*Opening); ok && !o.begun {
		return o
	}
	return nil
}

// plainConn is a connection of pgx whose BeginTx sends an Opening.
type plainConn struct {
	*stdlib.Conn
	sessions *Pool
}

// BeginTx implements driver.ConnBeginTx.
func (c *plainConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if opening := openingOf(ctx); opening != nil {
		return c.sessions.beginOpened(ctx, c.Conn.Conn(), opening)
	}
	return c.Conn.BeginTx(ctx, o)
}

// beginOpened begins a transaction with the default options, together with the statement
// of an Opening.
func (s *Pool) beginOpened(ctx context.Context, conn *pgx.Conn, o *Opening) (driver.Tx, error) {
	if conn.IsClosed() {
		return nil, driver.ErrBadConn
	}
	var steps pgx.Batch
	s.QueueBegin(&steps)
	begun := steps.Len()
	steps.Queue(o.SQL, o.Args...)
	results := conn.SendBatch(ctx, &steps)
	err := readOpening(results, begun, o)
	if closed := results.Close(); err == nil {
		err = closed
	}
	if err != nil {
		if pgconn.SafeToRetry(err) {
			return nil, driver.ErrBadConn
		}
		if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
			if _, failed := conn.Exec(ctx, "ROLLBACK"); failed != nil {
				_ = conn.Close(ctx)
			}
		}
		return nil, err
	}
	o.begun = true
	return &openedTx{ctx, conn, o}, nil
}

func readOpening(results pgx.BatchResults, begun int, o *Opening) error {
	for range begun {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	if err := o.Read(rows); err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// openedTx is a transaction with an Opening.
type openedTx struct {
	ctx     context.Context //nolint:containedctx // database/sql commits without one
	conn    *pgx.Conn
	opening *Opening
}

// Commit implements driver.Tx.
func (t *openedTx) Commit() error {
	tag, err := t.end(&t.opening.last)
	switch {
	case err != nil && !t.conn.IsClosed() && t.conn.PgConn().TxStatus() != 'I':
		// A statement of QueueLast failed, so PostgreSQL has not executed the COMMIT.
		if _, failed := t.conn.Exec(t.ctx, "ROLLBACK"); failed != nil {
			_ = t.conn.Close(t.ctx)
		}
	case err == nil && tag.String() == "ROLLBACK":
		err = pgx.ErrTxCommitRollback
	}
	return err
}

func (t *openedTx) end(last *pgx.Batch) (tag pgconn.CommandTag, err error) {
	if last.Len() == 0 {
		return t.conn.Exec(t.ctx, "COMMIT")
	}
	last.Queue("COMMIT")
	results := t.conn.SendBatch(t.ctx, last)
	for range last.Len() {
		if tag, err = results.Exec(); err != nil {
			break
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return tag, err
}

// Rollback implements driver.Tx.
func (t *openedTx) Rollback() error {
	if t.conn.IsClosed() {
		return nil
	}
	if _, err := t.conn.Exec(t.ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Close(t.ctx)
		return err
	}
	return nil
}
