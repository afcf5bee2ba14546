package servertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Linux gives its clients the ports from 32768 on, and other systems those from 49152 on.
const (
	firstPort = 12_000
	portCount = 20_000
)

// givenPorts are the ports that FreePort has returned.
var givenPorts sync.Map

// FreePort returns a port of 127.0.0.1 on which no program listens. The system gives the
// port to no client, so no connection of another test takes it before the caller does.
func FreePort(t testing.TB) int {
	t.Helper()
	var err error
	for range 100 {
		port := firstPort + rand.N(portCount)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatalf("find a free port: %v", err)
	return 0
}
