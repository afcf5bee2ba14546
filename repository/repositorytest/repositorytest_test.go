package repositorytest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"outboxd/repository/repositorytest"
)

func TestMain(m *testing.M) { repositorytest.Main(m) }

func TestDatabasesAreEmptyAndSeparate(t *testing.T) {
	t.Parallel()
	for range 3 {
		began := time.Now()
		address := repositorytest.Database(t)
		t.Logf("a database took %v", time.Since(began).Round(time.Millisecond))
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		// Left open on purpose: the clean-up has to cope.
		var schemas, tables int
		if err := conn.QueryRow(t.Context(), `SELECT count(to_regnamespace('outboxd')), (SELECT count(*) FROM pg_tables WHERE schemaname IN ('outboxd', 'public'))`).Scan(&schemas, &tables); err != nil {
			t.Fatal(err)
		}
		if schemas != 0 || tables != 0 {
			t.Errorf("%d schemas with %d tables, want none", schemas, tables)
		}
		if _, err := conn.Exec(t.Context(), `CREATE SCHEMA outboxd; CREATE TABLE here (id int)`); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedisDatabasesAreEmptyAndSeparate(t *testing.T) {
	t.Parallel()
	for range 3 {
		client := redisClient(t, repositorytest.Redis(t))
		if n := client.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys in a new database", n)
		}
		if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOwnRedis(t *testing.T) {
	t.Parallel()
	server := repositorytest.OwnRedis(t)
	client := redisClient(t, server.URL())
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed Redis answers")
	}
	server.Start()
	if got := client.Get(t.Context(), "key").Val(); got != "value" {
		t.Errorf("after kill and start the key is %q", got)
	}
	server.Pause()
	paused, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Ping(paused).Err(); err == nil {
		t.Error("a paused Redis answers")
	}
	server.Resume()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("a resumed Redis does not answer: %v", err)
	}
	server.Kill()
	server.Flush()
	server.Start()
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in a Redis that lost its data", n)
	}
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Flush()
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in a flushed Redis", n)
	}
	server.Pause() // and the clean-up has to cope
}

func TestOwnPostgres(t *testing.T) {
	t.Parallel()
	server := repositorytest.OwnPostgres(t)
	query(t, server.URL(), `CREATE TABLE kept AS SELECT 1 AS one`)
	server.Stop()
	if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
		t.Error("a stopped PostgreSQL accepts connections")
	}
	server.Start()
	query(t, server.URL(), `SELECT one FROM kept`)
}

func TestProxy(t *testing.T) {
	t.Parallel()
	proxy := repositorytest.Proxy(t, repositorytest.Redis(t))
	client := redisClient(t, proxy.URL())
	ping := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return client.Ping(ctx).Err()
	}
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"at first", func() {}, true},
		{"stalled", proxy.Stall, false},
		{"resumed", proxy.Resume, true},
		{"reset", proxy.Reset, true}, // the client connects again
		{"refusing", proxy.Refuse, false},
		{"refusing no more", proxy.Resume, true},
	}
	for _, step := range steps {
		step.do()
		if err := ping(); (err == nil) != step.want {
			t.Errorf("%s: ping gives %v", step.name, err)
		}
	}
	if addr := proxy.Addr(); !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("the proxy listens on %s", addr)
	}
	database := repositorytest.Proxy(t, repositorytest.Database(t))
	query(t, database.URL(), `CREATE TABLE public.through_the_proxy (id int)`)
}

func redisClient(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	option, err := asynq.ParseRedisURI(address)
	if err != nil {
		t.Fatal(err)
	}
	client, ok := option.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func query(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
