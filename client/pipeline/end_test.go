package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// blocked is a server whose Shutdown returns when the channel is closed.
type blocked chan struct{}

func (b blocked) Shutdown() { <-b }

func TestAServerThatDoesNotStopIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
		defer client.Close()
		c := New(t.Context(), Options{Redis: client, Direct: client})
		server, begun := make(blocked), time.Now()
		if err := c.End(server, time.Minute); err == nil {
			t.Error("no error for a server that does not stop")
		}
		if took := time.Since(begun); took < time.Minute {
			t.Errorf("the tasks had only %v", took)
		}
		close(server)
		if err := c.End(server, time.Minute); err != nil {
			t.Errorf("a server that stops: %v", err)
		}
	})
}
