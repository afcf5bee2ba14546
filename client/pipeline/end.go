package pipeline

import (
	"fmt"
	"time"
)

// grace is how long the shutdown of a server may take in addition to its tasks. In this time its parts
// finish their commands, each within the client's time limits.
const grace = 15 * time.Second

// usualShutdown is Asynq's default of asynq.Config.ShutdownTimeout.
const usualShutdown = 8 * time.Second

// End calls Release and then the server's Shutdown. tasks is the server's ShutdownTimeout, which
// is how long running tasks may still take (0: Asynq's default). If the server has not shut down 15
// seconds after that, End returns an error. Goroutines of the server then still run. Do not close
// their Redis clients: Asynq panics if its subscription is closed.
func (c *Client) End(server interface{ Shutdown() }, tasks time.Duration) error {
	if tasks <= 0 {
		tasks = usualShutdown
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Release()
		server.Shutdown()
	}()
	timer := time.NewTimer(tasks + grace)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("the Asynq server has not stopped within %v, although running tasks had only %v: a part of it still waits for Redis; unfinished tasks run again later", tasks+grace, tasks)
	}
}
