package servertest

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
)

// RedisProgram is a redis-server for one test with a configuration of its own: a
// Sentinel, a node of a cluster, a server that wants TLS. A method of RedisProgram
// that cannot do its work fails the test.
type RedisProgram struct {
	Port   int    // on 127.0.0.1
	Folder string // its working directory
	t      testing.TB
	args   []string
	out    string
	child  *child.Process // nil while killed
}

// StartRedis starts a redis-server on a free port of 127.0.0.1, with further lines
// of configuration. In them, PORT stands for the port. The server keeps nothing on disk unless these lines say so. A
// line with only the word "sentinel" makes it a Sentinel. The server is killed at the end of the test.
func StartRedis(t testing.TB, lines ...string) *RedisProgram {
	t.Helper()
	if binary == nil {
		t.Fatal("servertest.Main must be called from TestMain")
	}
	r := &RedisProgram{Port: FreePort(t), Folder: binary.home.folder(), t: t}
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
func (r *RedisProgram) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// Start starts the server again after Kill, and returns when the server accepts
// connections.
func (r *RedisProgram) Start() {
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
	for deadline := time.Now().Add(stopLimit); ; {
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
func (r *RedisProgram) Kill() {
	if r.child == nil {
		return
	}
	_ = r.child.Signal(syscall.SIGKILL)
	<-r.child.Done()
	r.child = nil
}

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
