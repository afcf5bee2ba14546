package consumer

import (
	"context"
	"database/sql"
	"net"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/acknowledge"
)

// An acknowledgement ends at its deadline even if the time limits of the Redis client are longer and Redis is
// silent.
func TestAnAcknowledgementEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts connections
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, connect := range map[string]asynq.RedisConnOpt{
		"one server": asynq.RedisClientOpt{Addr: silent.Addr().String(), ReadTimeout: time.Hour},
		"a cluster":  asynq.RedisClusterClientOpt{Addrs: []string{silent.Addr().String()}, ReadTimeout: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewRemote(SQL(&sql.DB{}), connect, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, ok := c.inbox.(*remote)
			if !ok {
				t.Fatal("no remote inbox")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			sent := make(chan error, 1)
			go func() { sent <- acknowledge.Send(ctx, r.redis, acknowledge.Acknowledgement{Event: client.NewID()}) }()
			select {
			case err := <-sent:
				if err == nil {
					t.Error("a silent Redis has the acknowledgement")
				}
			case <-time.After(30 * time.Second):
				t.Error("the acknowledgement goes on after its deadline")
			}
		})
	}
}
