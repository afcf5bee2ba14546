package outboxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Drain waits until every committed event is confirmed, cancelled or suppressed. If an event is a dead
// letter, or Patience is over, Drain ends the test. The message names up to 20 unconfirmed events,
// with the state of each.
func (o *Outboxd) Drain(t testing.TB) {
	t.Helper()
	end := time.After(o.Patience)
	conn, err := connect(t.Context(), o.DatabaseURL)
	if err != nil {
		t.Fatalf("look for events that are not confirmed: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		open, err := openEvents(t.Context(), conn)
		if err != nil {
			t.Fatalf("look for events that are not confirmed: %v", err)
		}
		if len(open) == 0 {
			return
		}
		for _, event := range open {
			if strings.HasPrefix(event.State, dead) {
				t.Fatalf("an event is a dead letter:\n%s", describe(open))
			}
		}
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("not everything is confirmed after %v:\n%s", o.Patience, describe(open))
		}
	}
}

// lookPatience limits one look of Drain and the connection for it. It is apart from
// Outboxd.Patience, so that a short Patience has a look to report.
const lookPatience = 30 * time.Second

func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return pgx.Connect(ctx, url)
}

// dead is the state of a dead letter.
const dead = "dead letter"

type openEvent struct{ ID, Type, Queue, State string }

// One statement reads all tables in one snapshot, because events move from table to
// table. Dead letters come first.
const openSQL = `
SELECT COALESCE(json_agg(e), '[]')::text FROM (
    SELECT * FROM (
        SELECT 0 AS rank, id, event_type AS type, queue, '` + dead + `: ' || error AS state, created_at FROM outboxd.outbox_dead
        UNION ALL SELECT 1, id, event_type, queue, CASE WHEN available_at > now() THEN 'due at ' || available_at ELSE 'pending' END
            || COALESCE(': ' || last_error, ''), created_at FROM outboxd.outbox
        UNION ALL SELECT 1, id, event_type, queue, 'held until it is the turn of its key ' || ordering_key, created_at FROM outboxd.outbox_held
        UNION ALL SELECT 1, id, event_type, queue, 'handed to Redis and not confirmed' || COALESCE((SELECT ': ' || detail FROM outboxd.outbox_journal j
            WHERE j.event_id = s.id AND j.entry = 'failed' ORDER BY at DESC LIMIT 1), ''), created_at
            FROM outboxd.outbox_sent s WHERE NOT EXISTS (SELECT FROM outboxd.inbox i WHERE i.event_id = s.id)
    ) AS open ORDER BY rank, created_at LIMIT 20
) AS e`

func openEvents(ctx context.Context, conn *pgx.Conn) (open []openEvent, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	var text string
	if err := conn.QueryRow(ctx, openSQL).Scan(&text); err != nil {
		return nil, err
	}
	return open, json.Unmarshal([]byte(text), &open)
}

func describe(open []openEvent) string {
	lines := make([]string, len(open))
	for i, event := range open {
		lines[i] = fmt.Sprintf("%s %s in queue %s: %s", event.ID, event.Type, event.Queue, event.State)
	}
	return strings.Join(lines, "\n")
}
