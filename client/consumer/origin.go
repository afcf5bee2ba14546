package consumer

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"outboxd/client"
	"outboxd/client/outage"
)

// origin is the inbox in the database of the outbox.
type origin struct{ schema schema }

// The statement changes the transaction's timeouts and confirms the event, in one round trip. While a handler calls
// other servers, its transaction is idle. If a timeout ended the transaction, every attempt would repeat those calls,
// and no attempt would commit. transaction_timeout exists since PostgreSQL 17. A transaction that has begun cannot
// extend its transaction_timeout; it can only switch it off.
const confirmSQL = `
SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', $1::pg_catalog.text, true),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', '0', true) END,
    %s.confirm($2::pg_catalog.uuid)`

func (o *origin) confirm(ctx context.Context, row func(context.Context, string, ...any) Row, event Event) (first bool, err error) {
	schema, err := o.schema.find(ctx, row)
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

// check calls confirm for a new ID, because only a call proves that the role has
// the rights. The caller rolls the transaction back.
func (o *origin) check(ctx context.Context, row func(context.Context, string, ...any) Row) error {
	schema, err := o.schema.find(ctx, row)
	if err != nil {
		return err
	}
	var first bool
	if err := row(ctx, "SELECT "+schema+".confirm($1::pg_catalog.uuid)", client.NewID().String()).Scan(&first); err != nil {
		o.schema.forget()
		if outage.State(err) != insufficientPrivilege {
			return fmt.Errorf("confirm a new event in the schema %s: %w", schema, err)
		}
		return fmt.Errorf("this role may not confirm events in the schema %s: GRANT outboxd_consumer TO it, or see deploy/postgres/grants.sql: %w", schema, err)
	}
	return nil
}

// insufficientPrivilege is the SQLSTATE of a statement for which the role lacks a right.
const insufficientPrivilege = "42501"

func (o *origin) committed(context.Context, Event) error { return nil }

// handlerPatience is how long the transaction may be idle if the handler's context
// has no deadline. Contexts of Asynq have one.
const handlerPatience = time.Hour

// patience returns how many milliseconds the transaction may be idle, as the text of a PostgreSQL integer.
func patience(ctx context.Context) string {
	d := handlerPatience
	if deadline, ok := ctx.Deadline(); ok {
		d = min(max(time.Until(deadline), time.Second), 24*24*time.Hour)
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}
