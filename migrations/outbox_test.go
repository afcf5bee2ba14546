package migrations_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
)

func TestOutboxRefusesWhatCouldNeverBeDelivered(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	tests := []struct{ name, columns, values, want string }{
		{"empty type", "event_type", "''", "outbox_event_type_is_not_blank"},
		{"blank type", "event_type", "E' \\t'", "outbox_event_type_is_not_blank"},
		{"long type", "event_type", "repeat('x', 256)", "outbox_event_type_has_at_most_255_bytes"},
		{"no type", "event_type", "NULL", "event_type"},
		{"no payload", "payload", "NULL", "payload"},
		{"blank queue", "queue", "' '", "outbox_queue_is_not_blank"},
		{"long queue", "queue", "repeat('x', 256)", "outbox_queue_has_at_most_255_bytes"},
		{"a queue that a cluster would scatter", "queue", "'}q'", "outbox_queue_does_not_begin_with_a_brace"},
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
		{"the zero ID", "id", "'00000000-0000-0000-0000-000000000000'", "outbox_id_is_not_zero"},
		{"the ID of a delivery", "id", "'01a25c40-3b1e-8f5a-9d0c-5a7c1f0e6b21'", "outbox_id_is_not_of_version_8"},
		{"large headers", "headers", "jsonb_build_object('a', repeat('x', 65536))", "outbox_headers_have_at_most_64_kib"},
		{"attempts that cannot be counted on", "attempts", "2147483647", "outbox_attempts_is_at_most_1000000000"},
		{"a generation that cannot be replayed", "generation", "2147483647", "outbox_generation_is_at_most_1000000000"},
		{"a long error", "last_error", "repeat('x', 8193)", "outbox_last_error_has_at_most_8_kib"},
		{"available before all times", "available_at", "'-infinity'", "outbox_available_at_is_finite"},
		{"available before Christ", "available_at", "'0044-03-15 00:00Z BC'", "outbox_available_at_is_in_years_1_to_9999"},
		{"available after year 9999", "available_at", "'10000-01-01 00:00Z'", "outbox_available_at_is_in_years_1_to_9999"},
		{"created before all times", "created_at", "'-infinity'", "outbox_created_at_is_in_years_1_to_9999"},
		{"never created", "created_at", "'infinity'", "outbox_created_at_is_in_years_1_to_9999"},
		{"created before Christ", "created_at", "'4714-11-24 00:00Z BC'", "outbox_created_at_is_in_years_1_to_9999"},
		{"created after year 9999", "created_at", "'294276-12-31 23:59:59.999999Z'", "outbox_created_at_is_in_years_1_to_9999"},
		{"no deadline to Asynq", "deadline", "to_timestamp(0)", "outbox_deadline_is_in_years_1971_to_9999"},
		{"no deadline to Go", "deadline", "'0001-01-01 00:00Z'", "outbox_deadline_is_in_years_1971_to_9999"},
		{"deadline after year 9999", "deadline", "'10000-01-01 00:00Z'", "outbox_deadline_is_in_years_1971_to_9999"},
	}
	// The column ordering_position needs an ordering key beside it.
	tests = append(tests, struct{ name, columns, values, want string }{
		"the last position of the sequence", "ordering_key, ordering_position", "'k', 9223372036854775807", "outbox_ordering_position_is_below_2_to_the_62",
	})
	// The characters are named by code point, because some editors would not show
	// them.
	blanks := []rune{
		0x01, '\t', '\r', 0x1f, ' ', 0x7f, 0x85, 0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x1680, 0x17b4, 0x180e, 0x2000, 0x2003, 0x200a, 0x200b, 0x200d,
		0x200f, 0x2028, 0x2029, 0x202a, 0x202f, 0x205f, 0x2060, 0x2064, 0x2066, 0x2800, 0x3000, 0x3164, 0xfe0f, 0xfeff, 0xffa0,
	}
	for i, blank := range blanks {
		value := fmt.Sprintf("chr(%d)||chr(%d)||chr(%d)", blank, blanks[(i+7)%len(blanks)], blank)
		for _, column := range []string{"event_type", "queue", "ordering_key"} {
			tests = append(tests, struct{ name, columns, values, want string }{
				fmt.Sprintf("%s of U+%04X", column, blank), column, value, "outbox_" + column + "_is_not_blank",
			})
		}
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
		"the largest payload":             "(event_type, payload) VALUES ('test:a', convert_to(repeat('x', 1048576), 'UTF8'))",
		"an empty payload":                "(event_type, payload) VALUES ('test:a', '')",
		"a type outside ASCII":            "(event_type, payload) VALUES ('中', '')",
		"a queue of one visible mark":     "(event_type, queue, payload) VALUES ('test:a', chr(160)||'é'||chr(8203), '')",
		"a queue with braces inside":      "(event_type, payload, queue) VALUES ('test:a', '', 'a}{b')",
		"the highest position":            "(event_type, payload, ordering_key, ordering_position) VALUES ('test:a', '', 'k', 4611686018427387903)",
		"the beginning of time for Go":    "(event_type, payload, available_at, created_at) VALUES ('test:a', '', '0001-01-01 00:00Z', '0001-01-01 00:00Z')",
		"the end of time for JSON":        "(event_type, payload, available_at, created_at, deadline) SELECT 'test:a', '', t, t, t FROM (SELECT timestamptz '9999-12-31 23:59:59.999999Z' AS t) AS x",
		"the largest numbers":             "(event_type, payload, max_retry, timeout_seconds, retention_seconds, unique_seconds, attempts, generation) VALUES ('test:a', '', 2147483647, 2147483647, 2147483647, 2147483647, 1000000000, 1000000000)",
		"an ID of another kind than ours": "(id, event_type, payload) VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'test:a', '')",
	} {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO outbox "+values); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmitStoresEveryOption(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	due := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	var id string
	err := db.QueryRowContext(t.Context(), `SELECT outboxd.emit('report:build', '{"a": "ü"}', headers => '{"traceparent":"00-x"}', queue => 'low',
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
	db := schematest.Open(t).SQL()
	// The IDs of calls within one millisecond must have the order of the calls too,
	// because an ID has the fraction of the millisecond.
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

// A producer's role needs only USAGE on the schema, INSERT on outbox, and EXECUTE
// on functions, which every role has by default. The role may have any
// search_path.
func TestProducerNeedsInsertOnly(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
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
		fmt.Sprintf("SELECT %s.emit('test:a', '{}')", schema),
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

// The trigger notifies only while a relay is asleep. A listener counts the
// notifications that arrive before a marker, which the test sends after the
// statement.
func TestInsertNotifiesOnlySleepers(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
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
		exec(t, db.SQL(), "SELECT outboxd.emit('test:a', '{}') FROM generate_series(1, 3)")
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
