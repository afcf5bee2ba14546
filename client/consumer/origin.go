package consumer

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"outboxd/client"
)

// origin is the inbox in the database of the outbox.
type origin struct{ schema schema }

// Lifts the timeouts and confirms, in one round trip. A handler that talks to other
// servers leaves its transaction idle meanwhile. If a timeout ended the transaction, every
// attempt would repeat its outside effects, and none would be recorded.
// transaction_timeout exists since PostgreSQL 17; once it runs it can only be switched
// off.
const confirmSQL = `
SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', $1::pg_catalog.text, true),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', '0', true) END,
    %s.confirm($2::pg_catalog.uuid)`

func (o *origin) confirm(ctx context.Context, row func(context.Context, string, ...any) Row, event Event) (first bool, err error) {
	schema, err := o.schema.in(ctx, row)
	if err != nil {
		return false, err
	}
	var idle, whole sql.NullString
	err = row(ctx, fmt.Sprintf(confirmSQL, schema), patience(ctx), event.ID.String()).Scan(&idle, &whole, &first)
	if err != nil {
		o.schema.forget()
		return false, named(err)
	}
	return first, nil
}

// check confirms in a transaction that is rolled back: only that proves that the role
// has the rights.
func (o *origin) check(ctx context.Context, row func(context.Context, string, ...any) Row) error {
	schema, err := o.schema.in(ctx, row)
	if err != nil {
		return err
	}
	var first bool
	if err := row(ctx, "SELECT "+schema+".confirm($1::pg_catalog.uuid)", client.NewID().String()).Scan(&first); err != nil {
		o.schema.forget()
		return fmt.Errorf("this role may not confirm events in the schema %s: GRANT outboxd_consumer TO it, or see deploy/postgres/grants.sql: %w", schema, err)
	}
	return nil
}

func (o *origin) committed(context.Context, Event) error { return nil }

// handlerPatience bounds a handler whose context has no deadline; Asynq's contexts
// have one.
const handlerPatience = time.Hour

// patience returns how many milliseconds the transaction may be idle, as an int of PostgreSQL.
func patience(ctx context.Context) string {
	d := handlerPatience
	if deadline, ok := ctx.Deadline(); ok {
		d = min(max(time.Until(deadline), time.Second), 24*24*time.Hour)
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}
