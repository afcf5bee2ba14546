package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outboxd/app/child"
	"outboxd/app/servertest"
)

// Program is a redis-server for one test with a configuration of its own: a
// Sentinel, a node of a cluster, a server that wants TLS. A method of Program
// that cannot do its work fails the test.
type Program struct {
	Port   int    // on 127.0.0.1
	Folder string // its working directory
	t      testing.TB
	args   []string
	out    string
	child  *child.Process // nil while killed
}

// StartProgram starts a redis-server on a free port of 127.0.0.1, with further lines of
// configuration. In them, PORT stands for the port. The server keeps nothing on disk
// unless these lines say so. A line with only the word "sentinel" makes the server a
// Sentinel. The server is killed at the end of the test.
func StartProgram(t testing.TB, lines ...string) *Program {
	t.Helper()
	r := &Program{Port: servertest.FreePort(t), Folder: servertest.Folder(t), t: t}
	if err := os.Mkdir(r.Folder, 0o700); err != nil {
		t.Fatalf("make a folder for Redis: %v", err)
	}
	config := []string{"bind 127.0.0.1", fmt.Sprintf("dir %s", r.Folder)}
	isSentinel, ownPort := false, false
	for _, line := range lines {
		isSentinel = isSentinel || line == "sentinel"
		ownPort = ownPort || strings.HasPrefix(line, "port ")
		if line != "sentinel" {
			config = append(config, strings.ReplaceAll(line, "PORT", fmt.Sprint(r.Port)))
		}
	}
	if !ownPort {
		config = append(config, fmt.Sprintf("port %d", r.Port))
	}
	if !isSentinel {
		config = append([]string{`save ""`}, config...)
	}
	file := filepath.Join(r.Folder, "redis.conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		t.Fatalf("configure Redis: %v", err)
	}
	r.args, r.out = []string{file}, filepath.Join(r.Folder, "output")
	if isSentinel {
		r.args = append(r.args, "--sentinel")
	}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// Address returns host:port.
func (r *Program) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// Start starts the server again after Kill, and returns when the server accepts
// connections.
func (r *Program) Start() {
	r.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		r.t.Fatalf("no redis-server is installed: run .ci/setup redis (%v)", err)
	}
	output, err := os.Create(r.out)
	if err != nil {
		r.t.Fatalf("make Redis's log: %v", err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(program, r.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.Folder, output, output
	if r.child, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		r.t.Fatalf("start Redis: %v", err)
	}
	for deadline := time.Now().Add(servertest.Patience); ; {
		conn, err := net.DialTimeout("tcp", r.Address(), time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
		case <-r.child.Done():
		}
		said, _ := os.ReadFile(r.out)
		r.t.Fatalf("start Redis: %v; it says:\n%s", err, said)
	}
}

// Kill ends the server by SIGKILL and returns when its process is gone.
func (r *Program) Kill() {
	if r.child == nil {
		return
	}
	_ = r.child.Signal(syscall.SIGKILL)
	<-r.child.Done()
	r.child = nil
}
