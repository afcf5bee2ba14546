package client_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/client"
	"outboxd/client/outboxtest"
)

type order struct {
	ID    int    `json:"id"`
	Items string `json:"items"`
}

const orderPaid client.Type[order] = "order:paid"

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func TestEmit(t *testing.T) {
	t.Parallel()
	db := outboxtest.Start(t).DB(t)
	t.Run("every option arrives", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		event := orderPaid.Event(order{ID: 7, Items: "“a”, <b>"})
		event.Queue, event.OrderingKey, event.InCommitOrder = "billing", "customer 7", true
		event.Headers = map[string]string{"tenant": "Zürich", "traceparent": "own"}
		event.MaxRetry, event.Timeout, event.Retention, event.UniqueFor = new(0), time.Minute, time.Hour, 2*time.Hour
		event.AvailableAt = time.Date(2100, 2, 3, 4, 5, 6, 789000, time.FixedZone("", 3600))
		event.Deadline = event.AvailableAt.Add(time.Hour)
		outbox := client.Outbox{Headers: func(context.Context) map[string]string {
			return map[string]string{"traceparent": "common", "baggage": "b"}
		}}
		id, err := outbox.Emit(t.Context(), tx, event)
		if err != nil {
			t.Fatal(err)
		}
		emitted := outboxtest.RequireEmitted(t, tx, orderPaid, func(e outboxtest.Emitted[order]) bool { return e.ID == id })
		if emitted.Payload != (order{7, "“a”, <b>"}) || emitted.Queue != "billing" || emitted.OrderingKey != "customer 7" || *emitted.MaxRetry != 0 || !emitted.AvailableAt.Equal(event.AvailableAt) {
			t.Errorf("%+v was emitted", emitted)
		}
		if want := map[string]string{"tenant": "Zürich", "traceparent": "own", "baggage": "b"}; fmt.Sprint(emitted.Headers) != fmt.Sprint(want) {
			t.Errorf("the headers are %v, want %v", emitted.Headers, want)
		}
		var timeout, retention, unique int
		var deadline time.Time
		row := tx.QueryRowContext(t.Context(), "SELECT timeout_seconds, retention_seconds, unique_seconds, deadline FROM outboxd.outbox WHERE id = $1", id.String())
		if err := row.Scan(&timeout, &retention, &unique, &deadline); err != nil || timeout != 60 || retention != 3600 || unique != 7200 || !deadline.Equal(event.Deadline) {
			t.Errorf("timeout %d, retention %d, unique %d, deadline %v, %v", timeout, retention, unique, deadline, err)
		}
	})
	t.Run("payloads arrive byte for byte", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		raw := make([]byte, 256)
		for i := range raw {
			raw[i] = byte(i)
		}
		var outbox client.Outbox
		ids, err := outbox.EmitAll(t.Context(), tx, []client.Event{
			{Type: "raw", Payload: raw}, {Type: "raw", Payload: json.RawMessage(`{ "a" :1}`)}, {Type: "raw", Payload: "text\n"}, {Type: "raw"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{string(raw), `{ "a" :1}`, "text\n", ""} {
			var got []byte
			if err := tx.QueryRowContext(t.Context(), "SELECT payload FROM outboxd.outbox WHERE id = $1", ids[i].String()).Scan(&got); err != nil || string(got) != want {
				t.Errorf("the payload is %q, %v, want %q", got, err, want)
			}
		}
	})
	t.Run("thousands in order", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		events := make([]client.Event, 5000)
		for i := range events {
			events[i] = client.Event{Type: "many", Payload: i, OrderingKey: fmt.Sprint("key ", i%3), InCommitOrder: true}
		}
		ids, err := client.Outbox{}.EmitAll(t.Context(), tx, events)
		if err != nil || len(ids) != len(events) {
			t.Fatalf("%d IDs, %v", len(ids), err)
		}
		var inversions, count int
		row := tx.QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE n < before), count(*) FROM (
			SELECT convert_from(payload, 'UTF8')::int AS n, lag(convert_from(payload, 'UTF8')::int) OVER (ORDER BY ordering_position) AS before
			FROM outboxd.outbox WHERE event_type = 'many') AS e`)
		if err := row.Scan(&inversions, &count); err != nil || inversions != 0 || count != len(events) {
			t.Errorf("%d events, %d of them out of order, %v", count, inversions, err)
		}
	})
	t.Run("more than one statement carries", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		events := make([]client.Event, 10)
		for i := range events {
			events[i] = client.Event{Type: "large", Payload: make([]byte, 1<<20)}
		}
		if ids, err := (client.Outbox{}).EmitAll(t.Context(), tx, events); err != nil || len(ids) != 10 {
			t.Errorf("%d IDs, %v", len(ids), err)
		}
	})
	t.Run("a repeat is absorbed", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		event := client.Event{ID: client.NewID(), Type: "repeat"}
		for range 2 {
			if ids, err := (client.Outbox{}).EmitAll(t.Context(), tx, []client.Event{event, event}); err != nil || ids[0] != event.ID || ids[1] != event.ID {
				t.Fatal(ids, err)
			}
		}
		outboxtest.RequireEmitted(t, tx, client.Type[[]byte]("repeat"))
	})
	t.Run("a rollback leaves nothing", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		if _, err := (client.Outbox{}).Emit(t.Context(), tx, client.Event{Type: "undone"}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		outboxtest.RequireNotEmitted(t, db, client.Type[[]byte]("undone"))
	})
	t.Run("whatever the session is set to", func(t *testing.T) {
		t.Parallel()
		tx := begin(t, db)
		for _, set := range []string{"SET LOCAL search_path = ''", "SET LOCAL datestyle = 'SQL, DMY'", "SET LOCAL timezone = 'Asia/Tokyo'", "SET LOCAL standard_conforming_strings = off"} {
			if _, err := tx.ExecContext(t.Context(), set); err != nil {
				t.Fatal(err)
			}
		}
		at := time.Date(2100, 2, 3, 0, 0, 0, 0, time.UTC)
		if _, err := (client.Outbox{}).Emit(t.Context(), tx, client.Event{Type: `back\slash`, AvailableAt: at, OrderingKey: "k", InCommitOrder: true}); err != nil {
			t.Fatal(err)
		}
		if e := outboxtest.RequireEmitted(t, tx, client.Type[[]byte](`back\slash`)); !e.AvailableAt.Equal(at) {
			t.Errorf("it is due at %v", e.AvailableAt)
		}
	})
}

// If the client refuses a field, the transaction can continue. If PostgreSQL
// refuses a field, the transaction is aborted, and the error names the field as
// well.
func TestRefusals(t *testing.T) {
	t.Parallel()
	db := outboxtest.Start(t).DB(t)
	for name, test := range map[string]struct {
		event   client.Event
		field   string
		aborted bool
	}{
		"no type":           {client.Event{}, "Type", false},
		"a blank type":      {client.Event{Type: " \u200b\u3164"}, "Type", false},
		"a long type":       {client.Event{Type: strings.Repeat("ü", 128)}, "Type", false},
		"a type of bytes":   {client.Event{Type: "a\xff"}, "Type", false},
		"a zero byte":       {client.Event{Type: "a", OrderingKey: "k\x00"}, "OrderingKey", false},
		"a blank queue":     {client.Event{Type: "a", Queue: "\t"}, "Queue", false},
		"a delivery's ID":   {client.Event{ID: client.ID{6: 0x80, 15: 1}, Type: "a"}, "ID", false},
		"a queue in braces": {client.Event{Type: "a", Queue: "}q"}, "Queue", false},
		"a header of bytes": {client.Event{Type: "a", Headers: map[string]string{"a": "\xff"}}, "Headers", false},
		"no JSON":           {client.Event{Type: "a", Payload: math.NaN()}, "Payload", false},
		"half a second":     {client.Event{Type: "a", Timeout: time.Second / 2}, "Timeout", false},
		"too long":          {client.Event{Type: "a", Retention: (math.MaxInt32 + 1) * time.Second}, "Retention", false},
		"negative":          {client.Event{Type: "a", UniqueFor: -time.Second}, "UniqueFor", false},
		"negative retries":  {client.Event{Type: "a", MaxRetry: new(-1)}, "MaxRetry", false},
		"an early deadline": {client.Event{Type: "a", Deadline: time.Date(1970, 1, 1, 0, 0, 0, 1, time.UTC)}, "Deadline", false},
		"a late time":       {client.Event{Type: "a", AvailableAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "AvailableAt", false},
		"a large payload":   {client.Event{Type: "a", Payload: make([]byte, 1<<20+1)}, "Payload", true},
		"large headers":     {client.Event{Type: "a", Headers: map[string]string{"a": strings.Repeat("0123456789", 7000)}}, "Headers", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tx := begin(t, db)
			_, err := client.Outbox{}.EmitAll(t.Context(), tx, []client.Event{{Type: "good"}, test.event})
			refusal, ok := errors.AsType[*client.Refusal](err)
			if !ok || refusal.Field != test.field || refusal.Aborted != test.aborted || !test.aborted && refusal.Index != 1 {
				t.Fatalf("the error is %#v, %v", err, err)
			}
			_, err = client.Outbox{}.Emit(t.Context(), tx, client.Event{Type: "after"})
			if aborted := err != nil; aborted != test.aborted {
				t.Errorf("the transaction is aborted: %t, %v", aborted, err)
			}
			if err != nil {
				if _, refused := errors.AsType[*client.Refusal](err); refused {
					t.Errorf("a broken transaction counts as a refusal: %v", err)
				}
			}
		})
	}
}

// The client takes the same characters for blank as the outbox's own CHECK.
func TestBlankIsWhatTheOutboxTakesForIt(t *testing.T) {
	t.Parallel()
	db := outboxtest.Start(t).DB(t)
	var blank []rune
	for c := rune(1); c < 0x10000; c++ {
		if c >= 0xd800 && c < 0xe000 {
			continue
		}
		_, err := client.Outbox{}.Emit(t.Context(), nothing{}, client.Event{Type: string(c)})
		if err != nil {
			blank = append(blank, c)
		}
	}
	tx := begin(t, db)
	var theirs string
	err := tx.QueryRowContext(t.Context(), `SELECT string_agg(chr(c), '' ORDER BY c) FROM generate_series(1, 65535) AS c
		WHERE c NOT BETWEEN 55296 AND 57343 AND outboxd.outbox_is_blank(chr(c))`).Scan(&theirs)
	if err != nil || string(blank) != theirs || len(blank) < 100 {
		t.Errorf("blank are %+q, and to the outbox %+q, %v", string(blank), theirs, err)
	}
}

type nothing struct{}

func (nothing) ExecContext(context.Context, string, ...any) (sql.Result, error) { return nil, nil }
func (nothing) Commit() error                                                   { return nil }
func (nothing) Rollback() error                                                 { return nil }

// PostgreSQL writes its messages in the server's language, with that language's quotation
// marks.
func TestARefusalInAnotherLanguage(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		`new row for relation "outbox" violates check constraint "outbox_payload_has_at_most_1_mib"`,
		`neue Zeile für Relation »outbox« verletzt Check-Constraint »outbox_payload_has_at_most_1_mib«`,
		`la nouvelle ligne de la relation « outbox » viole la contrainte de vérification « outbox_payload_has_at_most_1_mib »`,
	} {
		_, err := client.Outbox{}.Emit(t.Context(), refusing{state("23514"), message}, client.Event{Type: "a"})
		refusal, ok := errors.AsType[*client.Refusal](err)
		if !ok || refusal.Field != "Payload" || refusal.Reason != "has at most 1 mib: this rule is broken" || !refusal.Aborted {
			t.Errorf("the error is %#v, %v", err, err)
		}
	}
}

// refusing is a transaction in which every statement fails.
type refusing struct {
	state
	message string
}

func (r refusing) ExecContext(context.Context, string, ...any) (sql.Result, error) { return nil, r }
func (refusing) Commit() error                                                     { return nil }
func (refusing) Rollback() error                                                   { return nil }
func (r refusing) Error() string                                                   { return r.message }

type state string

func (s state) SQLState() string { return string(s) }

func TestErrorsThatAreNoRefusals(t *testing.T) {
	t.Parallel()
	db := outboxtest.Start(t).DB(t)
	for name, test := range map[string]struct {
		before, schema, want string
	}{
		"no such schema": {"", `else"where`, `"else""where"`},
		"no right":       {"CREATE ROLE stranger; SET ROLE stranger", "", "outboxd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tx := begin(t, db)
			if _, err := tx.ExecContext(t.Context(), test.before); err != nil {
				t.Fatal(err)
			}
			_, err := client.Outbox{Schema: test.schema}.Emit(t.Context(), tx, client.Event{Type: "a"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v", err)
			}
			if _, refused := errors.AsType[*client.Refusal](err); refused {
				t.Error("it counts as a refusal")
			}
		})
	}
}

// A second transaction that locks a key waits until the first has ended. So the
// order of a key's events is the order in which their transactions commit.
func TestLockKey(t *testing.T) {
	t.Parallel()
	db := outboxtest.Start(t).DB(t)
	first, second := begin(t, db), begin(t, db)
	var outbox client.Outbox
	if err := outbox.LockKey(t.Context(), first, "k"); err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() { locked <- outbox.LockKey(t.Context(), second, "k") }()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	var waits bool
	for limit := time.Now().Add(20 * time.Second); !waits && time.Now().Before(limit); <-again.C {
		if err := db.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if !waits {
		t.Error("the second transaction does not wait")
	}
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Error(err)
	}
}

// counting is a transaction that only records the length of its statements' parameters, in bytes.
type counting struct {
	client.Tx
	lengths []int
}

func (c *counting) ExecContext(_ context.Context, _ string, args ...any) (sql.Result, error) {
	text, _ := args[0].(string)
	c.lengths = append(c.lengths, len(text))
	return nil, nil //nolint:nilnil // Outbox does not look at the result
}

func TestEmitAllLimitsTheSizeOfAStatement(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60_000)
	for what, events := range map[string][]client.Event{ // each about 20 MB
		"payloads":     slices.Repeat([]client.Event{{Type: "a", Payload: long}}, 300),
		"headers":      slices.Repeat([]client.Event{{Type: "a", Headers: map[string]string{"h": long}}}, 300),
		"other texts":  slices.Repeat([]client.Event{{Type: long[:255], Queue: long[:255], OrderingKey: long[:255]}}, 20_000),
		"short events": slices.Repeat([]client.Event{{Type: "a"}}, 200_000),
	} {
		tx := &counting{}
		if _, err := (client.Outbox{}).EmitAll(t.Context(), tx, events); err != nil {
			t.Fatal(err)
		}
		for _, length := range tx.lengths {
			if length > 12<<20 { // base64 makes payloads longer by a third
				t.Errorf("%s: a statement has %d bytes", what, length)
			}
		}
	}
}
