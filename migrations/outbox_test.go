package migrations_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/migrations"
	"outboxd/repository/repositorytest"
)

func TestOutboxRefusesWhatCouldNeverBeDelivered(t *testing.T) {
	t.Parallel()
	db := repositorytest.Open(t).SQL()
	tests := []struct{ name, columns, values, want string }{
		{"empty type", "event_type", "''", "outbox_event_type_is_not_blank"},
		{"blank type", "event_type", "E' \\t'", "outbox_event_type_is_not_blank"},
		{"long type", "event_type", "repeat('x', 256)", "outbox_event_type_has_at_most_255_bytes"},
		{"no type", "event_type", "NULL", "event_type"},
		{"no payload", "payload", "NULL", "payload"},
		{"blank queue", "queue", "' '", "outbox_queue_is_not_blank"},
		{"long queue", "queue", "repeat('x', 256)", "outbox_queue_has_at_most_255_bytes"},
		{"large payload", "payload", "convert_to(repeat('x', 1048577), 'UTF8')", "outbox_payload_has_at_most_1_mib"},
		{"headers are a list", "headers", "'[]'", "outbox_headers_map_strings_to_strings"},
		{"a header is a number", "headers", `'{"a":"b","c":1}'`, "outbox_headers_map_strings_to_strings"},
		{"a header is null", "headers", `'{"c":null}'`, "outbox_headers_map_strings_to_strings"},
		{"a header is an object", "headers", `'{"c":{"d":"e"}}'`, "outbox_headers_map_strings_to_strings"},
		{"a header is a list", "headers", `'{"c":["e"]}'`, "outbox_headers_map_strings_to_strings"},
		{"negative retries", "max_retry", "-1", "outbox_max_retry_is_not_negative"},
		{"no timeout", "timeout_seconds", "0", "outbox_timeout_seconds_is_positive"},
		{"negative retention", "retention_seconds", "-1", "outbox_retention_seconds_is_not_negative"},
		{"zero uniqueness", "unique_seconds", "0", "outbox_unique_seconds_is_positive"},
		{"negative attempts", "attempts", "-1", "outbox_attempts_is_not_negative"},
		{"negative generation", "generation", "-1", "outbox_generation_is_not_negative"},
		{"never available", "available_at", "'infinity'", "outbox_available_at_is_finite"},
		{"endless deadline", "deadline", "'infinity'", "outbox_deadline_is_finite"},
	}
	for _, test := range tests {
		values := map[string]string{"event_type": "'test:a'", "payload": `'\x00ff'`}
		values[test.columns] = test.values
		var columns, row []string
		for c, v := range values {
			columns, row = append(columns, c), append(row, v)
		}
		_, err := db.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO outbox (%s) VALUES (%s)", strings.Join(columns, ","), strings.Join(row, ",")))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), test.want) {
			t.Errorf("%s: %v, want an error that names %s", test.name, err, test.want)
		}
	}
	for name, values := range map[string]string{
		"the largest payload": "('test:a', convert_to(repeat('x', 1048576), 'UTF8'))",
		"an empty payload":    "('test:a', '')",
	} {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO outbox (event_type, payload) VALUES "+values); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmitStoresEveryOption(t *testing.T) {
	t.Parallel()
	db := repositorytest.Open(t).SQL()
	due := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	var id string
	err := db.QueryRowContext(t.Context(), `SELECT outbox_emit('report:build', '{"a": "ü"}', headers => '{"traceparent":"00-x"}', queue => 'low',
		available_at => $1, max_retry => 3, timeout_seconds => 4, deadline => $1, retention_seconds => 5, unique_seconds => 6)`, due).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	var payload []byte
	var available time.Time
	err = db.QueryRowContext(t.Context(), `SELECT concat_ws(' ', event_type, headers, queue, max_retry, timeout_seconds, retention_seconds, unique_seconds, deadline = available_at),
		payload, available_at FROM outbox WHERE id = $1`, id).Scan(&got, &payload, &available)
	if err != nil {
		t.Fatal(err)
	}
	if want := `report:build {"traceparent": "00-x"} low 3 4 5 6 t`; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	if want := []byte(`{"a": "ü"}`); !bytes.Equal(payload, want) {
		t.Errorf("payload %q, want %q", payload, want)
	}
	if !available.Equal(due) {
		t.Errorf("available at %v, want %v", available, due)
	}
}

func TestNewIDsAreOrderedUUIDv7(t *testing.T) {
	t.Parallel()
	db := repositorytest.Open(t).SQL()
	// Calls within one millisecond must keep their order too, by the fraction.
	const calls = 20_000
	var distinct, version7, variant, ordered, recent int
	err := db.QueryRowContext(t.Context(), `
		WITH ids AS MATERIALIZED (SELECT n, outbox_new_id() AS id FROM generate_series(1, $1) n)
		SELECT count(DISTINCT id), count(*) FILTER (WHERE substr(id::text, 15, 1) = '7'),
		       count(*) FILTER (WHERE substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')),
		       count(*) FILTER (WHERE left(id::text, 18) >= coalesce(left(before::text, 18), '')),
		       count(*) FILTER (WHERE abs(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint - extract(epoch FROM now()) * 1000) < 60000)
		FROM (SELECT id, lag(id) OVER (ORDER BY n) AS before FROM ids) AS x`, calls).
		Scan(&distinct, &version7, &variant, &ordered, &recent)
	if err != nil {
		t.Fatal(err)
	}
	if distinct != calls || version7 != calls || variant != calls || ordered != calls || recent != calls {
		t.Errorf("of %d IDs: %d distinct, %d version 7, %d with the variant, %d in order, %d with the present time",
			calls, distinct, version7, variant, ordered, recent)
	}
}

// A producer's role has INSERT on outbox and EXECUTE on outbox_emit, a
// search_path of its own, and nothing else.
func TestProducerNeedsInsertOnly(t *testing.T) {
	t.Parallel()
	db := repositorytest.Open(t).SQL()
	var schema string
	if err := db.QueryRowContext(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	role := "producer_" + schema
	exec(t, db, `INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES (gen_random_uuid(), 'h', 1, 'v', true)`)
	for _, statement := range []string{
		"CREATE ROLE %[1]s", "GRANT USAGE ON SCHEMA %[2]s TO %[1]s", "GRANT INSERT ON %[2]s.outbox TO %[1]s",
	} {
		exec(t, db, fmt.Sprintf(statement, role, schema))
	}
	t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY %s", "DROP ROLE %s"} {
			if _, err := db.ExecContext(context.Background(), fmt.Sprintf(statement, role)); err != nil {
				t.Error(err)
			}
		}
	})
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		"SET LOCAL ROLE " + role,
		"SET LOCAL search_path = pg_catalog",
		fmt.Sprintf("SELECT %s.outbox_emit('test:a', '{}')", schema),
		fmt.Sprintf(`INSERT INTO %s.outbox (event_type, payload) VALUES ('raw:bytes', '\x00ff')`, schema),
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("SELECT FROM %s.outbox", schema)); err == nil {
		t.Error("the producer can read the outbox")
	}
}

// The trigger notifies only while some relay is asleep: seen by a listener that
// gets a marker after the statement in question.
func TestInsertNotifiesOnlySleepers(t *testing.T) {
	t.Parallel()
	url := repositorytest.Database(t)
	db := repositorytest.Connect(t, url)
	if _, err := migrations.Up(t.Context(), db.SQL(), repositorytest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "LISTEN outbox_wake"); err != nil {
		t.Fatal(err)
	}
	var schema string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	notified := func() int {
		exec(t, db.SQL(), "SELECT outbox_emit('test:a', '{}') FROM generate_series(1, 3)")
		exec(t, db.SQL(), "SELECT pg_notify('outbox_wake', 'marker of '||current_schema())")
		for n := 0; ; {
			notification, err := conn.WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			switch notification.Payload {
			case "marker of " + schema:
				return n
			case schema:
				n++
			}
		}
	}
	if n := notified(); n != 0 {
		t.Errorf("%d notifications without a relay", n)
	}
	exec(t, db.SQL(), `INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES (gen_random_uuid(), 'h', 1, 'v', false)`)
	if n := notified(); n != 0 {
		t.Errorf("%d notifications while the relay is awake", n)
	}
	exec(t, db.SQL(), `UPDATE outbox_relays SET asleep = true`)
	if n := notified(); n == 0 {
		t.Error("no notification while the relay sleeps")
	}
}
