package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// openSQL returns the pool for database/sql, which GORM uses too. Behind a pooler, each
// transaction of this pool sets outboxd's settings, as Pool's transactions do.
func (s *Pool) openSQL() *sql.DB {
	db := sql.OpenDB(sessionConnector{stdlib.GetPoolConnector(s.Pool), s})
	db.SetMaxIdleConns(0) // the pool keeps them
	return db
}

type sessionConnector struct {
	driver.Connector
	sessions *Pool
}

// Connect implements driver.Connector.
func (c sessionConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	own, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("a connection of pgx is a %T", conn)
	}
	if !c.sessions.pinned {
		return &plainConn{own, c.sessions}, nil
	}
	return &pinnedConn{own, c.sessions}, nil
}

type pinnedConn struct {
	*stdlib.Conn
	sessions *Pool
}

// BeginTx implements driver.ConnBeginTx. It takes one round trip.
func (c *pinnedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if opening := openingOf(ctx); opening != nil {
		return c.sessions.beginOpened(ctx, c.Conn.Conn(), opening)
	}
	var options pgx.TxOptions
	if sql.IsolationLevel(o.Isolation) != sql.LevelDefault {
		return nil, fmt.Errorf("unsupported isolation: %v", o.Isolation)
	}
	if o.ReadOnly {
		options.AccessMode = pgx.ReadOnly
	}
	tx, err := c.Conn.Conn().BeginTx(ctx, c.sessions.begin(options))
	if err != nil {
		return nil, err
	}
	return pinnedTx{ctx, tx}, nil
}

func (c *pinnedConn) inTransaction() bool { return c.Conn.Conn().PgConn().TxStatus() != 'I' }

// ExecContext implements driver.ExecerContext.
func (c *pinnedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.inTransaction() {
		return c.Conn.ExecContext(ctx, query, args)
	}
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	result, err := c.Conn.ExecContext(ctx, query, args)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return result, tx.Commit()
}

// QueryContext implements driver.QueryerContext.
func (c *pinnedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.inTransaction() {
		return c.Conn.QueryContext(ctx, query, args)
	}
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	rows, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	own, ok := rows.(*stdlib.Rows)
	if !ok {
		return nil, fmt.Errorf("rows of pgx are a %T", rows)
	}
	return &pinnedSQLRows{Rows: own, tx: tx}, nil
}

type pinnedTx struct {
	ctx context.Context
	tx  pgx.Tx
}

// Commit implements driver.Tx.
func (t pinnedTx) Commit() error { return t.tx.Commit(t.ctx) }

// Rollback implements driver.Tx.
func (t pinnedTx) Rollback() error { return t.tx.Rollback(t.ctx) }

// pinnedSQLRows are the rows of a statement in a transaction of its own. The transaction
// ends when the rows are closed.
type pinnedSQLRows struct {
	*stdlib.Rows
	tx     driver.Tx
	closed bool
}

// Next implements driver.Rows. After the last row Next calls Close, which commits, and returns
// the error of Close. If database/sql called Close there, it would ignore that error.
func (r *pinnedSQLRows) Next(row []driver.Value) error {
	err := r.Rows.Next(row)
	if errors.Is(err, io.EOF) {
		if failed := r.Close(); failed != nil {
			return failed
		}
	}
	return err
}

// Close implements driver.Rows.
func (r *pinnedSQLRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if err := r.Rows.Close(); err != nil {
		_ = r.tx.Rollback()
		return err
	}
	return r.tx.Commit()
}
