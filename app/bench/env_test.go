package bench_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/config"
	"outboxd/jobs/broker"
)

func newFlags() *pflag.FlagSet { return pflag.NewFlagSet("bench", pflag.ContinueOnError) }

// New refuses a schema with a table, and leaves the table.
func TestForeignSchema(t *testing.T) {
	t.Parallel()
	o := options(t)
	conn := connect(t, o)
	if _, err := conn.Exec(t.Context(), "CREATE SCHEMA bench; CREATE TABLE bench.mine AS SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := env.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--schema") {
		t.Errorf("a schema with a table: %v", err)
	}
	var rows int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM bench.mine").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows are left of what was there, %v", rows, err)
	}
}

// New refuses a Redis database with a key, and leaves the key.
func TestForeignRedis(t *testing.T) {
	t.Parallel()
	o := options(t)
	client := connectRedis(t, o)
	if err := client.Set(t.Context(), "mine", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := env.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--redis-db") {
		t.Errorf("a Redis database with a key: %v", err)
	}
	if client.Exists(t.Context(), "mine").Val() != 1 {
		t.Error("the key is gone")
	}
	var exists bool
	if err := connect(t, o).QueryRow(t.Context(), "SELECT to_regnamespace('bench') IS NOT NULL").Scan(&exists); err != nil || exists {
		t.Errorf("a schema was left: %t, %v", exists, err)
	}
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*env.Options){
		func(o *env.Options) { o.Schema = `bench"; DROP SCHEMA public` },
		func(o *env.Options) { o.Schema = "" },
		func(o *env.Options) { o.RedisURL = "redis-sentinel://localhost:26379?master=m" },
	} {
		o := options(t)
		change(&o)
		if e, err := env.New(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
			_ = e.Close(context.Background())
		}
	}
}

// Close leaves the servers as they were: without the schema or, if it was there and empty, with it.
func TestClose(t *testing.T) {
	t.Parallel()
	for _, existed := range []bool{false, true} {
		o := options(t)
		conn := connect(t, o)
		if existed {
			if _, err := conn.Exec(t.Context(), "CREATE SCHEMA bench"); err != nil {
				t.Fatal(err)
			}
		}
		e, err := env.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Load(t.Context(), 10, 100); err != nil {
			t.Error(err)
		}
		if err := e.Redis.Set(t.Context(), "a", "b", 0).Err(); err != nil {
			t.Error(err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var exists bool
		var objects int
		err = conn.QueryRow(t.Context(), `SELECT to_regnamespace('bench') IS NOT NULL,
			(SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('bench'))`).Scan(&exists, &objects)
		if err != nil || exists != existed || objects != 0 {
			t.Errorf("the schema exists: %t, before: %t; with %d objects, %v", exists, existed, objects, err)
		}
		if keys := connectRedis(t, o).DBSize(t.Context()).Val(); keys != 0 {
			t.Errorf("%d keys are left", keys)
		}
	}
}

func TestLoadAndReset(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if err := e.Load(t.Context(), 30_001, 64); err != nil {
		t.Fatal(err)
	}
	var events, ids, times, bytes int
	var version string
	err := e.Admin.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT id), count(DISTINCT available_at),
		max(octet_length(payload)), min(substr(id::text, 15, 1)) || max(substr(id::text, 15, 1))
		FROM outbox WHERE available_at <= now()`).Scan(&events, &ids, &times, &bytes, &version)
	if err != nil || events != 30_001 || ids != events || times < events/2 || bytes != 64 || version != "77" {
		t.Errorf("%d events, %d IDs of version %s, %d times, %d bytes, %v", events, ids, version, times, bytes, err)
	}
	stop := e.RunRelay(t.Context(), e.NewRelay(nil))
	if err := e.WaitDrained(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	if n, err := e.Delivered(t.Context()); n != 30_001 || err != nil {
		t.Errorf("%d delivered, %v", n, err)
	}
	if err := e.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = e.Admin.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_sent)").Scan(&events)
	if keys := e.Redis.DBSize(t.Context()).Val(); err != nil || events != 0 || keys != 0 {
		t.Errorf("%d events and %d keys are left, %v", events, keys, err)
	}
}

func connect(t *testing.T, o env.Options) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func connectRedis(t *testing.T, o env.Options) redis.UniversalClient {
	t.Helper()
	opt, err := broker.ParseURL(o.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	client, ok := opt.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// A benchmark's worker runs as many tasks at once as the option says, or as a daemon's would.
func TestTasksOfABenchmark(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ option, least int }{{0, 8}, {3, 3}} {
		c := *config.Default()
		c.Worker.Concurrency = test.option
		c.Roles = nil
		e := env.Env{Config: &c}
		if n := e.Tasks(); n < test.least || test.option > 0 && n != test.option {
			t.Errorf("with --worker-concurrency=%d there are %d tasks at once", test.option, n)
		}
	}
}
