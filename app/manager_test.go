package app_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"outboxd/app/servertest"
)

// listenAsManager returns what is sent to a NOTIFY_SOCKET, and its name.
func listenAsManager(t *testing.T, name string) (states <-chan string, socket string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	heard := make(chan string, 1000)
	go func() {
		defer close(heard)
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			heard <- string(buffer[:n])
		}
	}()
	return heard, name
}

// awaitState waits for the given state, and returns the states that came before it.
func awaitState(t *testing.T, states <-chan string, want string) (before []string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case got := <-states:
			if got == want {
				return before
			}
			before = append(before, got)
		case <-deadline.C:
			t.Fatalf("the service manager was told %q, and not %s", before, want)
		}
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	// A path of t.TempDir may be too long for a socket.
	dir, err := os.MkdirTemp("", "notify") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	names := []string{filepath.Join(dir, "socket")}
	if runtime.GOOS == "linux" {
		names = append(names, "@outboxd-"+filepath.Base(dir)) // an abstract one
	}
	database, redis := servertest.Database(t), servertest.Redis(t)
	for _, name := range names {
		states, socket := listenAsManager(t, name)
		p := launchWith(t, []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"},
			"--roles=relay", "--database-url="+database, "--redis-url="+redis)
		if before := awaitState(t, states, "READY=1"); len(before) > 0 {
			t.Errorf("told before it was ready: %q", before)
		}
		p.awaitReady()
		for range 3 {
			awaitState(t, states, "WATCHDOG=1")
		}
		p.stop()
		awaitState(t, states, "STOPPING=1")
	}
}

// If no process has the socket, that costs one line in the log.
func TestAServiceManagerThatCannotBeTold(t *testing.T) {
	t.Parallel()
	p := launchWith(t, []string{"NOTIFY_SOCKET=/nowhere/socket", "WATCHDOG_USEC=20000"},
		"--roles=relay", "--database-url="+servertest.Database(t), "--redis-url="+servertest.Redis(t))
	p.awaitReady()
	p.stop()
	if n := strings.Count(p.log.String(), "check NOTIFY_SOCKET"); n != 1 {
		t.Errorf("logged %d times that the service manager cannot be told, want once", n)
	}
	if n := strings.Count(p.log.String(), "limits of this process"); n != 1 {
		t.Errorf("logged %d times which limits there are, want once", n)
	}
}
