package relay_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/relay"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

var (
	oddRowsFor  = flag.Duration("odd-rows", 2*time.Second, "how long TestNoRowStopsTheRelay writes odd rows, in each variant")
	oddRowsSeed = flag.Uint64("odd-rows-seed", 0, "seed of TestNoRowStopsTheRelay; 0: another one each time")
)

// ordinaryPatience is how long an ordinary event may wait beside odd ones. It is
// two seconds on a machine that does nothing else.
const ordinaryPatience = 10 * time.Second

// Rows of random and extreme values in every column, written by plain SQL under
// random settings of the session: each is refused at once or ends confirmed, dead,
// held behind another or waiting for its time. An ordinary event beside it
// arrives, no actor of the relay fails, and the account adds up.
func TestNoRowStopsTheRelay(t *testing.T) {
	t.Parallel()
	seed := *oddRowsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for name, prepare := range map[string][]string{
		"as it is": nil,
		"without constraints": {`
			DO $$ DECLARE c name; BEGIN
				FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'outbox'::regclass AND contype = 'c' LOOP
					EXECUTE format('ALTER TABLE outbox DROP CONSTRAINT %I', c);
				END LOOP;
			END $$`, "ALTER TABLE outbox ALTER attempts DROP NOT NULL, ALTER generation DROP NOT NULL, ALTER available_at DROP NOT NULL, ALTER headers DROP NOT NULL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOddRows(t, seed, prepare)
			o.run(*oddRowsFor)
			o.end()
			t.Logf("seed %d: %d odd rows, %d refused at once; the ordinary event beside one waited for at most %v", seed, o.written, o.refused, o.longest)
		})
	}
}

type oddRows struct {
	*fixture
	random           *rand.Rand
	conn             *pgx.Conn // the producer's
	written, refused int
	longest          time.Duration
}

func newOddRows(t *testing.T, seed uint64, prepare []string) *oddRows {
	url := servertest.Database(t)
	f := newFixture(t, url, servertest.Redis(t), func(o *relay.Options) { o.PollInterval = 50 * time.Millisecond })
	for _, statement := range prepare {
		f.exec(statement)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	// A queue of which Redis refuses every event, so that they are settled too.
	if err := f.redis.Set(t.Context(), "asynq:{bad}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	return &oddRows{fixture: f, random: rand.New(rand.NewPCG(seed, 7)), conn: conn}
}

func (o *oddRows) run(d time.Duration) {
	o.start()
	for until := time.Now().Add(d); time.Now().Before(until) && !o.t.Failed(); {
		o.set()
		for range 1 + o.random.IntN(5) {
			o.write()
		}
		o.ordinary()
		if o.random.IntN(3) == 0 {
			o.confirm()
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// set changes the producer's session.
func (o *oddRows) set() {
	o.t.Helper()
	settings := map[string][]string{
		"timezone":                      {"UTC", "Europe/Berlin", "Europe/Amsterdam", "Asia/Kathmandu", "America/St_Johns", "+14"},
		"datestyle":                     {"ISO", "German", "SQL, DMY", "Postgres, MDY"},
		"intervalstyle":                 {"postgres", "sql_standard", "iso_8601"},
		"bytea_output":                  {"hex", "escape"},
		"standard_conforming_strings":   {"on", "off"},
		"client_encoding":               {"UTF8", "LATIN1", "WIN1252", "SQL_ASCII"},
		"default_transaction_isolation": {"read committed", "repeatable read", "serializable"},
	}
	for name, values := range settings {
		if err := o.produce(fmt.Sprintf("SET %s = '%s'", name, pick(o.random, values...))); err != nil {
			o.t.Fatal(err)
		}
	}
}

// produce runs a statement of the producer's, in text and without parameters.
func (o *oddRows) produce(statement string) error {
	_, err := o.conn.PgConn().Exec(o.t.Context(), statement).ReadAll()
	return err
}

// write writes one row with odd values in some columns.
func (o *oddRows) write() {
	name := []string{
		"'test:a'", "''", "' '", "chr(160)", "chr(8203)||chr(12288)", "chr(1)", "chr(20013)", "chr(233)", "repeat('x', 255)", "repeat('x', 256)",
		"repeat(chr(233), 200)", "'bad'", "'{default}'", "'a b'", "'a'||chr(10)||'b'", "NULL", "'%s$1'", "chr(128512)",
	}
	times := []string{
		"now()", "now() + interval '300 ms'", "'-infinity'", "'infinity'", "'0001-01-01 00:00Z'", "'1900-01-01 00:00Z'", "'1970-01-01 00:00Z'",
		"'9999-12-31 23:59:59.999999Z'", "'294276-12-31 23:59:59.999999Z'", "'4714-11-24 00:00Z BC'", "'0044-03-15 00:00Z BC'", "'2038-01-19 03:14:08Z'", "NULL",
	}
	numbers := []string{"0", "1", "-1", "2147483647", "-2147483648", "1000000000", "1000000001", "NULL"}
	payloads := []string{"''", "'x'", `decode('00ff', 'hex')`, "convert_to(repeat('x', 100000), 'UTF8')", "convert_to(repeat('x', 1048577), 'UTF8')", "NULL"}
	headers := []string{
		"'{}'", "'[]'", "'null'", `'{"a":"b"}'`, `'{"a":1}'`, `'{"":""}'`, "jsonb_build_object('a', chr(1), chr(233), chr(20013))",
		"jsonb_build_object('a', repeat('x', 65536))", "jsonb_build_object('a', repeat('x', 100000))", "NULL",
	}
	// Few, so that events are repeated.
	ids := []string{"'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'00000000-0000-0000-0000-000000000000'"}
	for n := range 8 {
		ids = append(ids, fmt.Sprintf("'0190000%d-0000-7000-8000-000000000000'", n))
	}
	keys := []string{"'k-1'", "'k-2'", "'k-3'", "''", "chr(160)", "repeat('k', 300)", "chr(233)", "NULL"}
	odd := map[string][]string{
		"event_type": name, "queue": append([]string{"'bad'", "'default'"}, name...), "payload": payloads, "headers": headers, "id": ids, "ordering_key": keys,
		"available_at": times, "created_at": times, "deadline": times, "max_retry": numbers, "timeout_seconds": numbers, "retention_seconds": numbers,
		"unique_seconds": numbers, "attempts": numbers, "generation": numbers,
		"last_error": {"NULL", "''", "'no'", "repeat('x', 8192)", "repeat('x', 20000)"}, "ordering_position": {"1", "-9223372036854775808", "9223372036854775807"},
	}
	row := map[string]string{"event_type": "'test:a'", "payload": "'x'"}
	columns := make([]string, 0, len(odd))
	for column := range odd {
		columns = append(columns, column)
	}
	for range 1 + o.random.IntN(4) {
		column := pick(o.random, columns...)
		row[column] = pick(o.random, odd[column]...)
	}
	if o.random.IntN(3) == 0 {
		row["ordering_key"] = pick(o.random, keys[:3]...)
	}
	if o.random.IntN(3) == 0 {
		row["id"] = pick(o.random, ids[1:]...)
	}
	var names, values []string
	for column, value := range row {
		names, values = append(names, column), append(values, value)
	}
	o.written++
	if err := o.produce(fmt.Sprintf("INSERT INTO outbox (%s) VALUES (%s)", strings.Join(names, ", "), strings.Join(values, ", "))); err != nil {
		o.refused++
	}
}

// ordinary writes an event that nothing is odd about, and waits for it.
func (o *oddRows) ordinary() {
	o.t.Helper()
	begun := time.Now()
	var id string
	if err := o.db.SQL().QueryRowContext(o.t.Context(), "SELECT outboxd.emit('test:ordinary', '{}')").Scan(&id); err != nil {
		o.t.Fatal(err)
	}
	for o.count("SELECT count(*) FROM outbox_sent WHERE id = $1", id) == 0 {
		if time.Since(begun) > ordinaryPatience {
			o.t.Fatalf("an ordinary event is not relayed after %v", ordinaryPatience)
		}
		time.Sleep(time.Millisecond)
	}
	o.longest = max(o.longest, time.Since(begun))
}

// confirm is what consumers do, and the leader for them.
func (o *oddRows) confirm() {
	o.t.Helper()
	// A consumer that is told that its event's turn has not come tries again.
	o.exec(`DO $$ DECLARE event uuid; BEGIN
		SET CONSTRAINTS ALL IMMEDIATE;
		FOR event IN SELECT DISTINCT id FROM outbox_sent s WHERE NOT EXISTS (SELECT FROM inbox WHERE event_id = s.id) LOOP
			BEGIN
				INSERT INTO inbox (event_id) VALUES (event);
			EXCEPTION WHEN SQLSTATE 'OB001' THEN NULL;
			END;
		END LOOP;
	END $$`)
	house := upkeep.NewHousekeeping(o.db, "")
	if _, _, _, err := house.AdvanceKeys(o.t.Context(), "", 1000); err != nil {
		o.t.Errorf("the keys' round: %v", err)
	}
	if _, err := house.Measure(o.t.Context(), o.options.Process); err != nil {
		o.t.Errorf("measure: %v", err)
	}
	if _, err := house.FoldAccount(o.t.Context()); err != nil {
		o.t.Errorf("fold the account: %v", err)
	}
	if o.random.IntN(4) == 0 {
		if _, err := heal.NewRedriver(o.db).Redrive(o.t.Context(), time.Hour); err != nil {
			o.t.Errorf("heal: %v", err)
		}
	}
}

// end waits until everything that is due has ended, and looks at all of it.
func (o *oddRows) end() {
	o.t.Helper()
	// One that is not due yet may have its key's turn, or come before its turn.
	const due = `SELECT (SELECT count(*) FROM outbox WHERE available_at <= now()) + (SELECT count(*) FROM outbox_held h
		WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.ordering_key = h.ordering_key AND NOT coalesce(o.available_at <= now(), false)))`
	deadline := time.Now().Add(30 * time.Second)
	for o.count(due) > 0 {
		o.confirm()
		if time.Now().After(deadline) {
			var what string
			_ = o.db.SQL().QueryRowContext(o.t.Context(), `SELECT string_agg(e::text, E'\n') FROM (
				SELECT left(e::text, 300) AS e FROM outbox e UNION ALL SELECT 'held ' || left(h::text, 300) FROM outbox_held h
				UNION ALL SELECT 'turn ' || t::text FROM outbox_turns t LIMIT 20) AS e`).Scan(&what)
			o.t.Fatalf("%d events neither end nor wait for their time:\n%s", o.count(due), what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	o.confirm()
	auditor := search.NewAuditor(o.db)
	lines, err := auditor.Account(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	for i := range lines {
		if lines[i].Difference() != 0 {
			o.t.Errorf("the account has %+v", lines[i])
		}
	}
	violations, err := auditor.Violations(o.t.Context(), lines, 10)
	if err != nil || len(violations) > 0 {
		o.t.Errorf("violations %+v: %v", violations, err)
	}
	letters, err := deadletters.New(o.db).List(o.t.Context(), domain.DeadFilter{}, domain.Cursor{}, 1000)
	if err != nil {
		o.t.Errorf("list dead letters: %v", err)
	}
	for i := range letters {
		if _, err := search.NewLives(o.db).Find(o.t.Context(), letters[i].ID); err != nil {
			o.t.Errorf("show event %s: %v", letters[i].ID, err)
		}
	}
}
