package servertest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"outboxd/app/embedded"
)

// OwnServer is a server of one test. The test can stop the server, and start it again with the same data and address.
// Packages postgrestest and redistest have what differs between PostgreSQL and Redis. A method of OwnServer that cannot
// do its work fails the test. Call the methods only from the test's goroutines.
type OwnServer struct {
	t       testing.TB
	options embedded.Options
	url     string

	mu      sync.Mutex
	running *embedded.Servers // nil while stopped
	process *os.Process
}

// NewOwnServer returns a server that does not run yet. The server's data gets a new folder, unless options has a
// DataDir. At the end of the test the server is stopped and its data is removed.
func NewOwnServer(t testing.TB, options embedded.Options) *OwnServer {
	t.Helper()
	if options.DataDir == "" {
		options.DataDir = Folder(t)
	}
	options.Ephemeral = true
	o := &OwnServer{t: t, options: options}
	t.Cleanup(o.end)
	return o
}

// URL returns the server's address, which never changes. URL returns "" before the first Start.
func (o *OwnServer) URL() string { return o.url }

// Folder returns the path of the folder with the server's data.
func (o *OwnServer) Folder() string { return o.options.DataDir }

// Change changes the options with which the next Start starts the server.
func (o *OwnServer) Change(change func(*embedded.Options)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.options)
}

// Start starts the server, with its old data if it has run before, and returns when the server answers.
func (o *OwnServer) Start() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running != nil {
		o.t.Fatal("start test server: it runs already")
	}
	running, err := embedded.Start(context.WithoutCancel(o.t.Context()), o.options)
	if err != nil {
		o.t.Fatalf("start test server: %v", err)
	}
	o.running = running
	if o.options.Redis {
		o.url, o.process = running.RedisURL(), running.RedisProcess()
	} else {
		o.url, o.process = running.DatabaseURL(), running.PostgresProcess()
	}
	if o.process == nil {
		o.t.Fatal("start test server: no server of that kind is installed")
	}
}

// Program returns the path of the server's program. It works only on Linux, and only while the server runs.
func (o *OwnServer) Program() string {
	o.t.Helper()
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", o.process.Pid))
	if err != nil {
		o.t.Fatalf("find the program of a test server: %v", err)
	}
	return program
}

// With calls f while nothing starts or stops the server. running says whether the server runs.
func (o *OwnServer) With(f func(running bool)) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o.running != nil)
}

// Crash sends a signal that ends the server at once, and returns when the server has ended. Crash does nothing if the
// server does not run.
func (o *OwnServer) Crash(signal syscall.Signal) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running == nil {
		return
	}
	o.send(signal)
	select {
	case err := <-o.running.Failed():
		o.t.Logf("as the test wants it: %v", err)
	case <-time.After(2 * Patience): // PostgreSQL gives its processes 5 s by a clock that may have been set back
		o.t.Fatal("stop test server: it does not end")
	}
	o.close()
}

// Signal sends a signal to the server, which has to run.
func (o *OwnServer) Signal(signal syscall.Signal) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.send(signal)
}

// HasEnded reports whether the server has ended by itself since Start. If so, HasEnded also
// releases what belonged to the server.
func (o *OwnServer) HasEnded() bool {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case err := <-o.running.Failed():
		o.t.Logf("as the test wants it: %v", err)
		o.close()
		return true
	default:
		return false
	}
}

func (o *OwnServer) send(signal syscall.Signal) {
	o.t.Helper()
	if o.running == nil {
		o.t.Fatal("signal test server: it does not run")
	}
	if err := o.process.Signal(signal); err != nil {
		o.t.Fatalf("signal test server: %v", err)
	}
}

func (o *OwnServer) close() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := o.running.Close(ctx); err != nil {
		o.t.Errorf("stop test server: %v", err)
	}
	o.running = nil
}

func (o *OwnServer) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running != nil {
		_ = o.process.Signal(syscall.SIGCONT) // a paused server could not shut down
		o.close()
	}
	if err := os.RemoveAll(o.options.DataDir); err != nil {
		o.t.Errorf("remove test server's data: %v", err)
	}
}
