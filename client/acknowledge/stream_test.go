package acknowledge_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"outboxd/client"
	"outboxd/client/acknowledge"
	"outboxd/client/outboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAStreamIsReadFromWhereItWasLeft(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t, "--roles=monitor")
	r, ok := o.Redis(t).MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	t.Cleanup(func() { _ = r.Close() })
	send := func() acknowledge.Acknowledgement {
		t.Helper()
		a := acknowledge.Acknowledgement{Event: client.NewID(), Type: "a:b", Queue: "q", Outbox: "mine"}
		if err := acknowledge.Send(t.Context(), r, a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	await := func(after string, want ...acknowledge.Acknowledgement) (next string) {
		t.Helper()
		got, next, err := acknowledge.Await(t.Context(), r, after, 2, 50*time.Millisecond)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v, want %v", got[i], want[i])
			}
		}
		return next
	}
	if next := await(""); next != acknowledge.Start {
		t.Errorf("the position in nothing is %q", next)
	}
	one, two, three := send(), send(), send()
	second := await("", one, two)
	third := await(second, three)
	if next := await(third); next != third {
		t.Errorf("the position after all is %q", next)
	}
	if next := await(acknowledge.End); next != third {
		t.Errorf("the position at the end is %q, want %q", next, third)
	}
	// A position after the end of the stream comes from another stream, so this one
	// is read from its start.
	if next := await("99999999999999-0"); next != acknowledge.Start {
		t.Errorf("the position in another stream is %q", next)
	}
	if err := r.Del(t.Context(), acknowledge.Key).Err(); err != nil {
		t.Fatal(err)
	}
	if next := await(third); next != acknowledge.Start {
		t.Errorf("the position in a lost stream is %q", next)
	}
	// A waiting caller gets its answer at once: an hour would be too long for
	// this test.
	heard := make(chan error, 1)
	go func() {
		list, _, err := acknowledge.Await(context.Background(), r, third, 1, time.Hour)
		if err == nil && len(list) != 1 {
			t.Errorf("%d acknowledgements", len(list))
		}
		heard <- err
	}()
	send()
	if err := <-heard; err != nil {
		t.Error(err)
	}
}
