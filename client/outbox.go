package client

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultSchema is the PostgreSQL schema of an outbox, unless --database-schema
// of outboxd names another.
const DefaultSchema = "outboxd"

// Tx is the caller's transaction. *sql.Tx implements it, and so do types that pass
// statements on to one, such as *sqlx.Tx. A bun.Tx drops the parameters of these
// statements, so give Emit its field Tx. gormoutbox.Tx and pgxoutbox.Tx make a Tx
// from GORM and pgx. Commit is part of the interface only to exclude a *sql.DB,
// which would emit outside a transaction. This package does not call Commit.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// Outbox emits events. The zero value is ready to use. An Outbox is safe for
// concurrent use, if each goroutine has a transaction of its own.
type Outbox struct {
	// Schema is the outbox's schema in the database. Empty: DefaultSchema.
	Schema string
	// Headers returns headers from the context for every event, for example
	// oteloutbox.Headers for the trace. Headers of the event itself take
	// precedence. Nil: none.
	Headers func(ctx context.Context) map[string]string
}

// Emit writes an event in the caller's transaction and returns the event's ID. Emit runs one
// statement, and one more if the event is InCommitOrder and has an OrderingKey.
//
// An event with the same ID may have been emitted before. Emit does not report that.
// While the first event is in the outbox, Emit ignores the repeat. Once the first
// event is relayed, it is in the history, which a producer may not read. Then the
// repeat is relayed too, but has no second effect (see Event.ID). A caller who needs
// to know stores the ID in a table of its own, in the same transaction.
//
// Errors: a *Refusal if the outbox does not accept this event; any other error
// means that the transaction or the connection failed, or that the outbox or a
// right is missing.
func (o Outbox) Emit(ctx context.Context, tx Tx, event Event) (ID, error) {
	ids, err := o.EmitAll(ctx, tx, []Event{event})
	if err != nil {
		return ID{}, err
	}
	return ids[0], nil
}

// One statement takes events until they have pieceBytes or more. There is a limit,
// because PostgreSQL keeps several copies of the events in memory.
const pieceBytes = 8 << 20

// EmitAll writes events in the caller's transaction, in their order, and returns their IDs. EmitAll
// runs one statement for about each 8 MiB of payloads, which may be thousands of events, and one
// more if an event with an OrderingKey is InCommitOrder.
//
// It returns the same errors as Emit. If one of the events is refused, the
// transaction can commit none of them.
func (o Outbox) EmitAll(ctx context.Context, tx Tx, events []Event) ([]ID, error) {
	if len(events) == 0 {
		return nil, nil
	}
	records, ids, keys := make([]record, len(events)), make([]ID, len(events)), []string{}
	common := o.headers(ctx)
	for i := range events {
		r, err := events[i].record(merged(common, events[i].Headers))
		if err != nil {
			return nil, at(i, len(events), err)
		}
		records[i], ids[i] = r, r.ID
		if events[i].InCommitOrder && r.OrderingKey != "" {
			keys = append(keys, r.OrderingKey)
		}
	}
	if err := o.lockKeys(ctx, tx, keys); err != nil {
		return nil, err
	}
	for len(records) > 0 {
		n, bytes := 0, 0
		for ; n < len(records) && bytes < pieceBytes; n++ {
			bytes += records[n].size()
		}
		if err := o.emit(ctx, tx, records[:n]); err != nil {
			return nil, err
		}
		records = records[n:]
	}
	return ids, nil
}

// The events are one JSON parameter, because every driver can pass a text; arrays
// need types that differ between drivers. ON CONFLICT has no target, so the
// producer needs no right to read the table. The order of the rows decides the
// positions of events with the same key. All names have a schema, so the session's
// search path does not matter.
const emitSQL = `
INSERT INTO $schema.outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
    retention_seconds, unique_seconds, available_at, ordering_key)
SELECT id, event_type, pg_catalog.decode(payload, 'base64'), COALESCE(headers, '{}'), COALESCE(queue, 'default'), max_retry, timeout_seconds, deadline,
    retention_seconds, unique_seconds, COALESCE(available_at, pg_catalog.now()), ordering_key
FROM ROWS FROM (pg_catalog.json_to_recordset($1::pg_catalog.text::pg_catalog.json) AS (id pg_catalog.uuid, event_type pg_catalog.text,
    payload pg_catalog.text, headers pg_catalog.jsonb, queue pg_catalog.text, max_retry pg_catalog.int4, timeout_seconds pg_catalog.int4,
    deadline pg_catalog.timestamptz, retention_seconds pg_catalog.int4, unique_seconds pg_catalog.int4,
    available_at pg_catalog.timestamptz, ordering_key pg_catalog.text)) WITH ORDINALITY
ORDER BY ordinality
ON CONFLICT DO NOTHING`

func (o Outbox) emit(ctx context.Context, tx Tx, records []record) error {
	text, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("encode %d events: %w", len(records), err)
	}
	if _, err := tx.ExecContext(ctx, o.sql(emitSQL), string(text)); err != nil {
		return o.explain(err, fmt.Sprintf("emit %d events", len(records)))
	}
	return nil
}

// LockKey locks an ordering key until the end of the transaction: a second caller
// with the same key waits until the first one's transaction has ended. Call it
// before you read the rows that your events describe. If you do not read such rows,
// Event.InCommitOrder is enough.
func (o Outbox) LockKey(ctx context.Context, tx Tx, key string) error {
	return o.lockKeys(ctx, tx, []string{key})
}

// The statement locks its keys in a fixed order, so that two such statements do not
// deadlock.
const lockKeysSQL = `SELECT $schema.lock_key(key) FROM pg_catalog.json_array_elements_text($1::pg_catalog.text::pg_catalog.json) AS key`

func (o Outbox) lockKeys(ctx context.Context, tx Tx, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	text, err := json.Marshal(slices.Compact(keys))
	if err != nil {
		return fmt.Errorf("encode ordering keys: %w", err)
	}
	if _, err := tx.ExecContext(ctx, o.sql(lockKeysSQL), string(text)); err != nil {
		return o.explain(err, "lock ordering keys")
	}
	return nil
}

func (o Outbox) headers(ctx context.Context) map[string]string {
	if o.Headers == nil {
		return nil
	}
	return o.Headers(ctx)
}

func merged(common, own map[string]string) map[string]string {
	if len(common) == 0 {
		return own
	}
	all := maps.Clone(common)
	maps.Copy(all, own)
	return all
}

func (o Outbox) schema() string {
	schema := o.Schema
	if schema == "" {
		schema = DefaultSchema
	}
	return `"` + strings.ReplaceAll(schema, `"`, `""`) + `"`
}

func (o Outbox) sql(statement string) string {
	return strings.ReplaceAll(statement, "$schema", o.schema())
}
