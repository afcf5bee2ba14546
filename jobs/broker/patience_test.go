package broker_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/jobs/broker"
)

// After an exchange without an answer, the next ones fail without asking the server.
func TestAfterSilenceNobodyWaits(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var silent []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			asked.Add(1)
			silent = append(silent, conn)
		}
		for _, conn := range silent {
			_ = conn.Close()
		}
	}()
	defer func() { _ = listener.Close(); <-ended }()
	handle, err := broker.Open(broker.Options{URL: "redis://" + listener.Addr().String(), Patience: 50 * time.Millisecond}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	client := handle.Client()
	first := client.Ping(t.Context()).Err()
	if first == nil || asked.Load() != 1 {
		t.Fatalf("%v, asked %d times", first, asked.Load())
	}
	pipe := client.Pipeline()
	answer := pipe.Get(t.Context(), "a")
	if _, err := pipe.Exec(t.Context()); err == nil || answer.Err() == nil {
		t.Errorf("a pipeline: %v, its command: %v", err, answer.Err())
	}
	if err := client.Get(t.Context(), "a").Err(); err == nil || err.Error() != first.Error() || asked.Load() != 1 {
		t.Errorf("%v, want %v; asked %d times, want once", err, first, asked.Load())
	}
}
