package jobstest

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
)

// Publisher returns a publisher for a Redis, and a Redis client for the same server.
func Publisher(t *testing.T, url string) (*publish.Publisher, *redis.Client) {
	t.Helper()
	handle := OpenRedis(t, url)
	client := handle.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	return publish.New(handle), client
}

// OpenRedis returns a handle for a Redis. It closes the handle when the test ends.
func OpenRedis(t testing.TB, url string) *broker.Redis {
	t.Helper()
	handle, err := broker.Open(broker.Options{URL: url}, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handle.Close() })
	return handle
}

// Allow changes the rights of a Redis user by rules of ACL SETUSER.
func Allow(t *testing.T, admin *redis.Client, user string, rules ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", user}
	for _, rule := range rules {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// Events returns n events for the queue default. Every call returns the same events.
func Events(n int) []domain.Event {
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = domain.Event{ID: domain.ID{0x01, 6: 0x70, 8: 0x80, 14: byte(i >> 8), 15: byte(i)}, Type: "test:a", Queue: "default"}
	}
	return events
}
