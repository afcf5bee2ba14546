package line_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"outboxd/domain/line"
)

// A NAT device that forgets a connection tells neither side. With these options the system notices the loss within 30
// seconds: on an idle connection by keepalive, on one with data under way by the user timeout.
func TestDialedConnectionsNoticeASilentDeath(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := line.Dialer(time.Second).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const userTimeout = 0x12
	for _, option := range []struct {
		what              string
		level, name, want int
	}{
		{"keepalive is on", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{"seconds before the first probe", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		{"seconds between probes", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 5},
		{"probes without an answer", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
		{"milliseconds for which data may stay unacknowledged", syscall.IPPROTO_TCP, userTimeout, 30_000},
	} {
		if err := raw.Control(func(fd uintptr) {
			if got, err := syscall.GetsockoptInt(int(fd), option.level, option.name); err != nil || got != option.want {
				t.Errorf("%s: %d (%v), want %d", option.what, got, err, option.want)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
