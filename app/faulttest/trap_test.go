package faulttest_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/faulttest"
	"outboxd/app/servertest"
)

// TestTraps breaks one exchange in which a client increments a key, and looks at what either side has of it.
func TestTraps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		at      faulttest.Position
		counted bool   // the server has carried it out
		seen    string // of the reply ":1\r\n", before the connection broke
	}{
		{"before the request", faulttest.BeforeRequest, false, ""},
		{"after the request", faulttest.AfterRequest, true, ""},
		{"within the reply", faulttest.WithinReply, true, ":1"},
	} {
		for _, hold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, held %v", c.name, hold), func(t *testing.T) {
				t.Parallel()
				address := servertest.Redis(t)
				proxy, direct := faulttest.NewProxy(t, address), servertest.Client(t, address)
				conn, key := dial(t, proxy, address), "counter"
				mend := proxy.Arm(faulttest.Trap{At: c.at, Skip: 1, Hold: hold})
				if got := exchange(t, conn, "PING", 7); got != "+PONG\r\n" {
					t.Errorf("the request before gets %q", got)
				}
				if got := exchange(t, conn, "INCR "+key, 4); got != c.seen {
					t.Errorf("the client sees %q, want %q", got, c.seen)
				}
				count := func() int { n, _ := direct.Get(t.Context(), key).Int(); return n }
				if counted := count() == 1; counted != c.counted {
					t.Errorf("the server has carried it out: %v, want %v", counted, c.counted)
				}
				if !mend() {
					t.Error("nobody ran into the trap")
				}
				if !hold {
					return
				}
				if got := read(t, conn, 4-len(c.seen)); c.seen+got != ":1\r\n" {
					t.Errorf("when the hold is over the client has %q", c.seen+got)
				}
				if got := exchange(t, conn, "PING", 7); got != "+PONG\r\n" {
					t.Errorf("the request after gets %q", got)
				}
			})
		}
	}
}

func TestATrapThatNobodyRunsInto(t *testing.T) {
	t.Parallel()
	address := servertest.Redis(t)
	proxy := faulttest.NewProxy(t, address)
	mend := proxy.Arm(faulttest.Trap{At: faulttest.BeforeRequest})
	if mend() {
		t.Error("somebody ran into a trap without a request")
	}
	if got := exchange(t, dial(t, proxy, address), "PING", 7); got != "+PONG\r\n" {
		t.Errorf("a request after the trap is gone gets %q", got)
	}
}

// dial returns a connection that has chosen the database of address.
func dial(t *testing.T, proxy *faulttest.Proxy, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client, ok := servertest.Client(t, address).(*redis.Client)
	if !ok {
		t.Fatal("no client of one server")
	}
	if got := exchange(t, conn, fmt.Sprintf("SELECT %d", client.Options().DB), 5); got != "+OK\r\n" {
		t.Fatalf("choosing the database gets %q", got)
	}
	return conn
}

// exchange sends a request and returns the first bytes of the reply: the given number, or fewer if the connection ends
// or nothing more comes within half a second.
func exchange(t *testing.T, conn net.Conn, request string, bytes int) string {
	t.Helper()
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return read(t, conn, bytes)
}

func read(t *testing.T, conn net.Conn, bytes int) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for in := bufio.NewReaderSize(conn, 16); text.Len() < bytes; {
		b, err := in.ReadByte()
		if err != nil {
			break
		}
		text.WriteByte(b)
	}
	return text.String()
}
