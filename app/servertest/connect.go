package servertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// Execute runs one or several SQL statements without parameters on a new
// connection.
func Execute(t testing.TB, address, sql string) {
	t.Helper()
	if err := Exec(t.Context(), address, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Client returns a client of the Redis at address, which is closed at the end of
// the test.
func Client(t testing.TB, address string) redis.UniversalClient {
	t.Helper()
	client, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Exec is like Execute, but it returns the error. A clean-up can give it a context that outlives the test.
func Exec(ctx context.Context, address, sql string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// Do runs one command of Redis on a new connection.
func Do(ctx context.Context, address string, args ...any) error {
	client, err := connect(address)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return client.Do(ctx, args...).Err()
}

func connect(address string) (redis.UniversalClient, error) {
	option, err := asynq.ParseRedisURI(address)
	if err != nil {
		return nil, err
	}
	client, ok := option.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return nil, fmt.Errorf("no client for %s", address)
	}
	return client, nil
}
