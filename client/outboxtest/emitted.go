package outboxtest

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/client"
)

// Emitted is an event that was emitted, with its decoded payload.
type Emitted[T any] struct {
	ID          client.ID
	Type        client.Type[T]
	Payload     T
	Headers     map[string]string
	Queue       string
	OrderingKey string
	AvailableAt time.Time
	MaxRetry    *int
}

// RequireEmitted returns the event of this type for which every condition is true.
// RequireEmitted ends the test unless exactly one such event was emitted.
// RequireEmitted searches the outbox in the default schema.
//
// If tx is a transaction, only the events of this transaction count, whether it
// commits or not. A transaction is a *sql.Tx, a *sqlx.Tx, a pgx.Tx,
// or tx.Statement.ConnPool of GORM. If tx is a *sql.DB or a pool of pgx, all committed
// events that the outbox still has count, in any state, even cancelled and
// suppressed ones.
func RequireEmitted[T any](t testing.TB, tx any, kind client.Type[T], conditions ...func(Emitted[T]) bool) Emitted[T] {
	t.Helper()
	events, others := emitted(t, tx, kind)
	var matching []Emitted[T]
	for _, event := range events {
		holds := true
		for _, condition := range conditions {
			holds = holds && condition(event)
		}
		if holds {
			matching = append(matching, event)
		}
	}
	switch {
	case len(matching) == 1:
		return matching[0]
	case len(matching) > 1:
		t.Fatalf("%d events of type %s were emitted where one was wanted: %+v", len(matching), kind, matching)
	case len(events) > 0:
		t.Fatalf("none of the %d events of type %s is the one that was wanted: %+v", len(events), kind, events)
	case len(others) > 0:
		t.Fatalf("no event of type %s was emitted, but of %s", kind, strings.Join(others, ", "))
	default:
		t.Fatalf("no event of type %s was emitted, and no other", kind)
	}
	return Emitted[T]{}
}

// RequireNotEmitted ends the test if an event of this type was emitted. See
// RequireEmitted for tx.
func RequireNotEmitted[T any](t testing.TB, tx any, kind client.Type[T]) {
	t.Helper()
	if events, _ := emitted(t, tx, kind); len(events) > 0 {
		t.Fatalf("%d events of type %s were emitted: %+v", len(events), kind, events)
	}
}

// created_at is the start time of the transaction that emitted the event, so it
// identifies the events of the present transaction, even after a savepoint.
// Deliveries to subscriptions do not count as emitted. An event that was sent again may
// have several rows, and counts once.
const (
	emittedColumns = "id, event_type, encode(payload, 'base64') AS payload, headers, queue, ordering_key, available_at, max_retry, origin_id"

	emittedSQL = `
SELECT COALESCE(json_agg(e ORDER BY e.id), '[]')::text FROM (
    SELECT DISTINCT ON (id) * FROM (
        SELECT ` + emittedColumns + ` FROM outboxd.outbox WHERE NOT $1::boolean OR created_at = now()
        UNION ALL SELECT ` + emittedColumns + ` FROM outboxd.outbox_held WHERE NOT $1::boolean
        UNION ALL SELECT ` + emittedColumns + ` FROM outboxd.outbox_sent WHERE NOT $1::boolean
        UNION ALL SELECT ` + emittedColumns + ` FROM outboxd.outbox_dead WHERE NOT $1::boolean
        UNION ALL SELECT ` + emittedColumns + ` FROM outboxd.outbox_suppressed WHERE NOT $1::boolean
        UNION ALL SELECT ` + emittedColumns + ` FROM outboxd.outbox_cancelled WHERE NOT $1::boolean
    ) AS places WHERE origin_id IS NULL ORDER BY id
) AS e`
)

func emitted[T any](t testing.TB, tx any, kind client.Type[T]) (events []Emitted[T], others []string) {
	t.Helper()
	var rows []struct {
		ID          client.ID         `json:"id"`
		Type        string            `json:"event_type"`
		Payload     string            `json:"payload"`
		Headers     map[string]string `json:"headers"`
		Queue       string            `json:"queue"`
		OrderingKey string            `json:"ordering_key"`
		AvailableAt time.Time         `json:"available_at"`
		MaxRetry    *int              `json:"max_retry"`
	}
	text, err := query(t.Context(), tx)
	if err == nil {
		err = json.Unmarshal([]byte(text), &rows)
	}
	if err != nil {
		t.Fatalf("look for events that were emitted: %v", err)
	}
	seen := map[string]bool{}
	for _, row := range rows {
		if row.Type != kind.String() {
			if !seen[row.Type] {
				seen[row.Type], others = true, append(others, row.Type)
			}
			continue
		}
		event := Emitted[T]{
			ID: row.ID, Type: kind, Headers: row.Headers, Queue: row.Queue, OrderingKey: row.OrderingKey,
			AvailableAt: row.AvailableAt, MaxRetry: row.MaxRetry,
		}
		// PostgreSQL's base64 has line breaks.
		raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(row.Payload, "\n", ""))
		if err == nil {
			event.Payload, err = kind.Decode(raw)
		}
		if err != nil {
			t.Fatalf("event %s: %v", row.ID, err)
		}
		events = append(events, event)
	}
	return events, others
}

// query returns the events as JSON.
func query(ctx context.Context, tx any) (text string, err error) {
	switch tx := tx.(type) {
	case interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}:
		_, inside := tx.(interface{ Commit() error })
		err = tx.QueryRowContext(ctx, emittedSQL, inside).Scan(&text)
	case interface {
		QueryRow(ctx context.Context, query string, args ...any) pgx.Row
	}:
		_, inside := tx.(pgx.Tx)
		err = tx.QueryRow(ctx, emittedSQL, inside).Scan(&text)
	default:
		err = fmt.Errorf("a %T is neither of database/sql nor of pgx; of GORM it is tx.Statement.ConnPool", tx)
	}
	return text, err
}
