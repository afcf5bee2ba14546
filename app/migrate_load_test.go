package app_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/migrations"
	"outboxd/repository/upkeep"
)

var migrateRows = flag.Int("migrate-rows", 0, "how many rows TestMigrateUnderLoad writes into each of outbox, outbox_sent and inbox, on a PostgreSQL of its own; 0: 5,000 on the tests' PostgreSQL")

const (
	// maxWait is how long a migration may keep a statement of a producer, a relay or a worker waiting.
	maxWait = time.Second
	// longHold is how long a long transaction of a producer keeps its locks. longHold is longer than maxWait, so
	// the test fails if a statement queues up behind a migration for that long.
	longHold = 2 * time.Second
	// heldKind is the migration that must wait for a long transaction in each form of the test.
	heldKind = "09001_nullable_column"
)

// laterKinds are migrations of each kind that a minor version may bring.
var laterKinds = map[string]string{
	"09001_nullable_column": `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS later text;
ALTER TABLE outbox_sent ADD COLUMN IF NOT EXISTS later text;
ALTER TABLE inbox ADD COLUMN IF NOT EXISTS later text;`,
	"09002_column_with_default": `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS later_number integer NOT NULL DEFAULT 0;
ALTER TABLE outbox_sent ADD COLUMN IF NOT EXISTS later_number integer NOT NULL DEFAULT 0;`,
	"09003_index": `-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX IF EXISTS outbox_later;
SET lock_timeout = 0;
CREATE INDEX CONCURRENTLY outbox_later ON outbox (event_type, id);
SET lock_timeout = '500ms';
DROP INDEX IF EXISTS inbox_later;
SET lock_timeout = 0;
CREATE INDEX CONCURRENTLY inbox_later ON inbox (processed_at, event_id);
SET lock_timeout = '500ms';`,
	"09004_index_of_new_partitions": `-- +goose Up
CREATE INDEX outbox_sent_later ON ONLY outbox_sent (event_type, sent_at);`,
	"09005_function": `-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION outbox_new_id() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
    micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    RETURN encode(overlay(
        uuid_send(gen_random_uuid())
        PLACING int8send(micros / 1000 << 16 | x'7000'::bigint | micros % 1000 * 4096 / 1000)
        FROM 1), 'hex')::uuid;
END $$;
-- +goose StatementEnd`,
	"09006_check": `-- +goose Up
ALTER TABLE outbox ADD CONSTRAINT outbox_later_is_short CHECK (length(later) <= 100) NOT VALID;`,
	"09007_validate": `-- +goose Up
ALTER TABLE outbox VALIDATE CONSTRAINT outbox_later_is_short;`,
	"09008_table": `-- +goose Up
CREATE TABLE outbox_later_table (id uuid PRIMARY KEY DEFAULT outbox_new_id(), at timestamptz NOT NULL DEFAULT now());`,
	"09009_drop_column": `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE outbox DROP COLUMN IF EXISTS later_number;
ALTER TABLE outbox_sent DROP COLUMN IF EXISTS later_number;`,
}

// TestMigrateUnderLoad applies a migration of each kind to full tables, while producers emit, some of them in
// longer transactions, a relay claims and a consumer confirms. No statement waits for a lock for longer than
// maxWait, although a transaction of a producer keeps its locks for longHold.
func TestMigrateUnderLoad(t *testing.T) {
	t.Parallel()
	rows := 5000
	var databaseURL string
	if *migrateRows > 0 {
		rows, databaseURL = *migrateRows, postgrestest.Start(t).URL()
		if _, err := migrations.Core().Up(t.Context(), schematest.Connect(t, databaseURL).SQL(), servertest.Logger(t)); err != nil {
			t.Fatal(err)
		}
	} else {
		databaseURL = schematest.Database(t)
	}
	fillTables(t, databaseURL, rows)
	l := startTraffic(t, databaseURL)
	l.reset("")
	migrator := schematest.Connect(t, named(t, databaseURL, "migrator")).SQL()
	done, total := map[string]string{}, time.Duration(0)
	for _, kind := range slices.Sorted(maps.Keys(laterKinds)) {
		done[kind+".sql"] = laterKinds[kind]
		set := schematest.Later(t, done)
		l.await(20)
		if kind == heldKind || *migrateRows > 0 {
			l.hold()
		}
		begun := time.Now()
		n, err := set.Up(t.Context(), migrator, servertest.Logger(t))
		took := time.Since(begun)
		if err != nil || n != 1 {
			t.Fatalf("%s: %d migrations, %v", kind, n, err)
		}
		if kind == heldKind && took < maxWait {
			t.Errorf("%s took %v, so it did not wait for the long transaction", kind, took)
		}
		l.await(20)
		total += took
		l.reset(fmt.Sprintf("%-32s took %8v", kind, took.Round(time.Millisecond)))
	}
	begun := time.Now()
	if _, err := migrations.LimitPayload(t.Context(), migrator, 2<<20, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	l.await(20)
	l.reset(fmt.Sprintf("%-32s took %8v", "another limit of payloads", time.Since(begun).Round(time.Millisecond)))
	t.Logf("%d rows in each of three tables; all migrations took %v; the longest wait for a lock was %v", rows, total.Round(time.Millisecond), l.longest)
	if l.longest > maxWait {
		t.Errorf("a statement waited for %v", l.longest)
	}
}

// named returns the URL with an application_name.
func named(t *testing.T, databaseURL, name string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", name)
	u.RawQuery = query.Encode()
	return u.String()
}

// fillTables writes rows of pending events that are due much later, and rows of events that were handed over and
// confirmed.
func fillTables(t *testing.T, databaseURL string, rows int) {
	t.Helper()
	db := schematest.Connect(t, databaseURL)
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), 7*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	const (
		pending = `INSERT INTO outboxd.outbox (event_type, payload, available_at) SELECT 'test:later', '{}', now() + interval '30 days' FROM generate_series(1, $1)`
		sent    = `WITH s AS (INSERT INTO outboxd.outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
			SELECT outboxd.outbox_new_id(), 'test:sent', '{}', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, $1) RETURNING id)
			INSERT INTO outboxd.inbox (event_id) SELECT id FROM s`
	)
	begun := time.Now()
	// Run no triggers: they count each row in the account.
	if _, err := conn.Exec(t.Context(), "SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	for chunk, left := 100_000, rows; left > 0; left -= chunk {
		for _, sql := range []string{pending, sent} {
			if _, err := conn.Exec(t.Context(), sql, min(chunk, left)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var size string
	if err := conn.QueryRow(t.Context(), "SELECT pg_size_pretty(pg_database_size(current_database()))").Scan(&size); err != nil {
		t.Fatal(err)
	}
	t.Logf("the tables were filled in %v; the database has %s", time.Since(begun).Round(time.Second), size)
}

// traffic is what uses the tables while they are migrated, and watches who waits.
type traffic struct {
	t *testing.T

	long chan chan struct{} // asks for a long transaction; the channel that it takes is closed when the transaction has its locks

	mu      sync.Mutex
	samples int           // how often watch has looked since the last reset
	waiting time.Duration // the longest wait for a lock that was seen since the last reset
	longest time.Duration // of all waits for a lock
	emitted int
}

// startTraffic starts a relay, producers and a consumer, and returns when events pass.
func startTraffic(t *testing.T, databaseURL string) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	l := &traffic{t: t, long: make(chan chan struct{})}
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop(); running.Wait(); _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}
	relay := start(t, "--roles=relay", "--database-url="+databaseURL, "--redis-url="+servertest.Redis(t))
	t.Cleanup(relay.stop)
	for range 2 {
		conn := connect()
		running.Go(func() {
			l.repeat(ctx, func() error { return l.emit(ctx, conn, "SELECT outboxd.emit('test:now', '{}')") })
		})
	}
	long := connect()
	running.Go(func() { l.repeat(ctx, func() error { return l.emitSlowly(ctx, long) }) })
	confirming := connect()
	running.Go(func() {
		l.repeat(ctx, func() error { return l.emit(ctx, confirming, "SELECT outboxd.confirm(gen_random_uuid())") })
	})
	watching := connect()
	running.Go(func() { l.repeat(ctx, func() error { return l.watch(ctx, watching) }) })
	l.await(20)
	return l
}

// repeat calls the function do about a hundred times a second until ctx ends.
func (l *traffic) repeat(ctx context.Context, do func() error) {
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		if err := do(); err != nil && ctx.Err() == nil {
			l.t.Errorf("beside a migration: %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
	}
}

// emit runs a statement and counts it.
func (l *traffic) emit(ctx context.Context, conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, sql string,
) error {
	_, err := conn.Exec(ctx, sql)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emitted++
	return err
}

// emitSlowly emits in a transaction that does something else for up to 300 ms, or for longHold if hold asks for it.
func (l *traffic) emitSlowly(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := l.emit(ctx, tx, "SELECT outboxd.emit('test:slow', '{}')"); err != nil {
			return err
		}
		seconds := rand.Float64() * 0.3
		select {
		case holds := <-l.long:
			seconds = longHold.Seconds()
			close(holds)
		default:
		}
		_, err := tx.Exec(ctx, "SELECT pg_sleep($1)", seconds)
		return err
	})
}

// hold returns when a long transaction has its locks.
func (l *traffic) hold() {
	l.t.Helper()
	holds := make(chan struct{})
	select {
	case l.long <- holds:
		<-holds
	case <-time.After(time.Minute):
		l.t.Fatal("no transaction holds its locks for long")
	}
}

// waitingSQL returns how long the statement that waits longest for a lock has been running. The migrator may wait.
const waitingSQL = `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8
FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock' AND application_name <> 'migrator'`

func (l *traffic) watch(ctx context.Context, conn *pgx.Conn) error {
	var seconds float64
	if err := conn.QueryRow(ctx, waitingSQL).Scan(&seconds); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples++
	l.waiting = max(l.waiting, time.Duration(seconds*float64(time.Second)))
	return nil
}

// await waits until the given number of further statements of producers and consumers have ended, and the method
// watch has looked again.
func (l *traffic) await(more int) {
	l.t.Helper()
	now := func() (emitted, samples int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.emitted, l.samples
	}
	emittedBefore, samplesBefore := now()
	eventually(l.t, "producers and consumers go on", func() bool {
		emitted, samples := now()
		return emitted >= emittedBefore+more && samples > samplesBefore
	})
}

// reset logs the longest waits since the last reset, and forgets them.
func (l *traffic) reset(what string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if what != "" {
		l.longest = max(l.longest, l.waiting)
		l.t.Logf("%s; longest wait for a lock %5v, seen in %d samples", what, l.waiting.Round(time.Millisecond), l.samples)
	}
	l.samples, l.waiting = 0, 0
}
