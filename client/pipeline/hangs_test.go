package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// stuck is a gate that does not answer before its release, so the taking loop
// stands still.
type stuck struct{ release chan struct{} }

func (g stuck) Pause() time.Duration { <-g.release; return 0 }
func (stuck) Took()                  {}

// A server that does not ask for tasks hangs, unless all of its slots have tasks.
func TestAServerThatAsksForNothingHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		// No server listens at this address, so each question is answered with an
		// error.
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
		defer client.Close()
		gate := stuck{make(chan struct{})}
		c := New(ctx, Options{Redis: client, Direct: client, Concurrency: 1, Gate: gate})
		check := func(when string, want bool) {
			t.Helper()
			if err := c.Hangs(); (err != nil) != want {
				t.Errorf("%s: %v, want a worker that hangs: %v", when, err, want)
			}
		}
		check("at first", false)
		time.Sleep(hangsAfter + time.Second)
		check("it never asked", true)
		c.places.begin(task{"default", "a"})
		check("its slot has a task", false)
		time.Sleep(hangsAfter + time.Second)
		c.places.end(task{"default", "a"})
		check("its slot has just become free", false)
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			c.take(ctx, "default")
		}()
		time.Sleep(hangsAfter + time.Second)
		check("its question is never answered", true)
		stop()
		check("it ended", false)
		close(gate.release)
		<-asked
	})
}
