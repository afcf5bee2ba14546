package shell

import (
	"context"
	"net"
	"syscall"
	"time"
)

// lookEvery is how often a download checks whether its client is still there. A failed write tells that too, but a
// search that finds nothing for minutes writes nothing.
const lookEvery = time.Second

// whileConnected returns a context that ends when the peer closes the connection. Call stop at the end.
func whileConnected(parent context.Context, connection net.Conn) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	raw, ok := connection.(syscall.Conn)
	if !ok {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if isClosed(raw) {
				cancel()
				return
			}
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}
