package relay_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/relay"
	"outboxd/repository/confirm"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/upkeep"
)

// shortOddRows is how long the test writes by default, as one of many tests.
const shortOddRows = 2 * time.Second

var (
	oddRowsFor  = flag.Duration("odd-rows", shortOddRows, "how long TestNoRowStopsTheRelay writes odd rows, in each variant; longer than by default, an ordinary event beside them may wait for 2 s instead of 10")
	oddRowsSeed = flag.Uint64("odd-rows-seed", 0, "seed of TestNoRowStopsTheRelay; 0: another one each time")
)

// ordinaryPatience is how long an ordinary event may wait beside odd ones. A short run
// may be one of many tests on a busy machine.
func ordinaryPatience() time.Duration {
	if *oddRowsFor > shortOddRows {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// oddDatabase is the database that the odd rows are written into.
type oddDatabase struct {
	database []string // statements for the database
	producer []string // and for the producer's session
	// uncounted: the trigger that counts what is emitted does not fire.
	uncounted bool
}

// Rows of random and extreme values in every column are written by plain SQL under random settings
// of the session. Each is refused at once, or ends, or waits: behind another event of its key, for
// its time, or for its task's next attempt. Ordinary events beside the odd rows arrive, no actor of
// the relay fails, and the account adds up.
func TestNoRowStopsTheRelay(t *testing.T) {
	t.Parallel()
	seed := *oddRowsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for name, variant := range map[string]oddDatabase{
		"as it is": {},
		"without constraints": {database: []string{`
			DO $$ DECLARE c name; BEGIN
				FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'outbox'::regclass AND contype = 'c' LOOP
					EXECUTE format('ALTER TABLE outbox DROP CONSTRAINT %I', c);
				END LOOP;
			END $$`, "ALTER TABLE outbox ALTER attempts DROP NOT NULL, ALTER generation DROP NOT NULL, ALTER available_at DROP NOT NULL, ALTER headers DROP NOT NULL"}},
		"by a replica": {producer: []string{"SET session_replication_role = replica"}, uncounted: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOddRows(t, seed, variant)
			o.run(*oddRowsFor)
			o.end()
			t.Logf("seed %d: %d odd rows, %d refused at once; the ordinary event beside one waited for at most %v; %s", seed, o.written, o.refused, o.longest, o.places())
		})
	}
}

type oddRows struct {
	*town
	oddDatabase
	random           *rand.Rand
	conn             *pgx.Conn // the producer's
	written, refused int
	longest          time.Duration
	ids              map[string]int // how often each was written
}

func newOddRows(t *testing.T, seed uint64, variant oddDatabase) *oddRows {
	url, redisURL := schematest.Database(t), servertest.Redis(t)
	f := newFixture(t, url, redisURL, func(o *relay.Options) { o.PollInterval = 50 * time.Millisecond })
	for _, statement := range variant.database {
		f.exec(statement)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, statement := range variant.producer {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	// Make a queue whose events Redis refuses, so that refusals are settled too.
	if err := f.redis.Set(t.Context(), "asynq:{bad}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	return &oddRows{town: &town{fixture: f, redisURL: redisURL}, oddDatabase: variant, random: rand.New(rand.NewPCG(seed, 7)), conn: conn, ids: map[string]int{}}
}

func (o *oddRows) run(d time.Duration) {
	o.start()
	o.work()
	for until := time.Now().Add(d); time.Now().Before(until) && !o.t.Failed(); {
		o.set()
		for range 1 + o.random.IntN(5) {
			o.write()
		}
		o.ordinary()
		if o.random.IntN(3) == 0 {
			o.round()
			o.heal()
		}
	}
}

// work runs a worker for the types and queues that a row may have, except the queue bad.
func (o *oddRows) work() {
	handlers, queues := map[string]work.Handler{}, map[string]int{"default": 1}
	done := func(context.Context, domain.Effects, work.Task) error { return nil }
	for _, name := range []string{"test:ordinary", "test:a", "\x01", "中", "é", strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("é", 200), "bad", "{default}", "a b", "a\nb", "%s$1", "😀", "\u200b\u3000"} {
		handlers[name] = done
		if name != "bad" {
			queues[name] = 1
		}
	}
	worker := work.New(work.Options{
		Redis: openRedis(o.t, o.redisURL), Inbox: confirm.NewInbox(o.db), Failures: deadletters.NewFailedTasks(o.db, false), Handlers: handlers,
		Concurrency: 4, Queues: queues, PollInterval: 50 * time.Millisecond, Drain: 5 * time.Second,
		Logger: servertest.Logger(o.t), Registry: prometheus.NewRegistry(),
	})
	o.runWorker(worker)
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// The method set changes the producer's session.
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
	for _, name := range slices.Sorted(maps.Keys(settings)) { // so that a seed repeats a run
		if err := o.produce(fmt.Sprintf("SET %s = '%s'", name, pick(o.random, settings[name]...))); err != nil {
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
	// Use few IDs, so that events are repeated.
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
	columns := slices.Sorted(maps.Keys(odd))
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
	for _, column := range slices.Sorted(maps.Keys(row)) {
		names, values = append(names, column), append(values, row[column])
	}
	o.written++
	if err := o.produce(fmt.Sprintf("INSERT INTO outbox (%s) VALUES (%s)", strings.Join(names, ", "), strings.Join(values, ", "))); err != nil {
		o.refused++
	} else {
		o.ids[strings.Trim(row["id"], "'")]++
	}
}

// The method ordinary writes an event that nothing is odd about, and waits until the relay has sent
// it.
func (o *oddRows) ordinary() {
	o.t.Helper()
	begun := time.Now()
	var id string
	if err := o.db.SQL().QueryRowContext(o.t.Context(), "SELECT outboxd.emit('test:ordinary', '{}')").Scan(&id); err != nil {
		o.t.Fatal(err)
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for o.count("SELECT count(*) FROM outbox_sent WHERE id = $1", id) == 0 {
		if time.Since(begun) > ordinaryPatience() {
			o.t.Fatalf("an ordinary event is not relayed after %v", ordinaryPatience())
		}
		<-look.C
	}
	o.longest = max(o.longest, time.Since(begun))
}

// The method round does some of the leader's duties once.
func (o *oddRows) round() {
	o.t.Helper()
	house := upkeep.NewHousekeeping(o.db, "")
	if _, _, _, err := house.AdvanceKeys(o.t.Context(), "", 1000, true); err != nil {
		o.t.Errorf("the keys' round: %v", err)
	}
	if _, err := house.ConfirmDelivered(o.t.Context(), domain.ID{}, 1000); err != nil {
		o.t.Errorf("confirm what was delivered: %v", err)
	}
	if _, _, err := house.Measure(o.t.Context(), o.options.Process, nil); err != nil {
		o.t.Errorf("measure: %v", err)
	}
	if _, err := house.FoldAccount(o.t.Context()); err != nil {
		o.t.Errorf("fold the account: %v", err)
	}
}

// heal sends again what is not confirmed, one time in four.
func (o *oddRows) heal() {
	o.t.Helper()
	if o.random.IntN(4) == 0 {
		if _, err := heal.NewRedriver(o.db).Redrive(o.t.Context(), time.Hour); err != nil {
			o.t.Errorf("heal: %v", err)
		}
	}
}
