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

// DefaultSchema is the PostgreSQL schema of an outbox, unless outboxd was given
// another by --database-schema.
const DefaultSchema = "outboxd"

// Tx is the caller's transaction: *sql.Tx and what is built on it, such as
// *sqlx.Tx and bun.Tx. gormoutbox.Tx and pgxoutbox.Tx make one of GORM's and of
// pgx's. That it can be committed keeps out a *sql.DB, which would emit beside
// the transaction; nothing here commits it.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// Outbox emits events. The zero value is ready to use. It may be used by any
// number of goroutines, each with a transaction of its own.
type Outbox struct {
	// Schema is the outbox's schema in the database. Empty: DefaultSchema.
	Schema string
	// Headers returns headers for every event that is emitted under a context,
	// such as those of its trace: oteloutbox.Headers. An event's own headers
	// win. Nil: none.
	Headers func(ctx context.Context) map[string]string
}

// Emit writes an event in the caller's transaction and returns its ID. It is one
// round trip.
//
// An event whose ID was emitted before is absorbed. Emit does not tell whether it
// was: the statement sees a repeat only while the first is in the outbox. One that
// was relayed since is in the history, which only the relay may read, and it absorbs
// the repeat. An answer here would be "new" for most repeats. Who has to know keeps
// the ID in a row of its own, in the same transaction.
//
// Errors: a *Refusal if this event cannot be emitted as it is; any other error is
// the transaction's.
func (o Outbox) Emit(ctx context.Context, tx Tx, event Event) (ID, error) {
	ids, err := o.EmitAll(ctx, tx, []Event{event})
	if err != nil {
		return ID{}, err
	}
	return ids[0], nil
}

// pieceBytes is how much payload one statement carries, at least; one event is
// always taken. PostgreSQL holds it a few times over.
const pieceBytes = 8 << 20

// EmitAll writes events in the caller's transaction, in their order, and returns
// their IDs. It is one round trip for thousands of them, or for every 8 MiB of
// payload, and one more if any of them is InCommitOrder.
//
// Errors are those of Emit. If one event is refused, none is emitted that the
// transaction could commit.
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
			bytes += len(records[n].Payload)
		}
		if err := o.emit(ctx, tx, records[:n]); err != nil {
			return nil, err
		}
		records = records[n:]
	}
	return ids, nil
}

// One JSON text carries any number of events through every driver; arrays would
// need the driver's own types. ON CONFLICT without a target asks for no right to
// read the table. The order of the rows gives events of one key their positions.
// Nothing depends on the session's search path.
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

// LockKey makes the transactions that call it for one ordering key follow one
// another, from here to their end. Call it before you read the rows that the
// events announce. Where nothing is read before, Event.InCommitOrder does.
func (o Outbox) LockKey(ctx context.Context, tx Tx, key string) error {
	return o.lockKeys(ctx, tx, []string{key})
}

// In a fixed order, so that two transactions do not wait for each other.
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
