package servertest

import (
	"net"
	"testing"
)

// FreePort returns a port of 127.0.0.1 on which no program listens. Another program
// may take the port before the caller does, but that is unlikely.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
