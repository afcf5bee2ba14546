package redistest_test

import (
	"context"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := servertest.Client(t, server.URL())
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
