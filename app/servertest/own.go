package servertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"outboxd/app/embedded"
)

// RedisServer is a Redis for one test. A method of RedisServer that cannot do its work fails the test. Call the methods
// only from the test's goroutines.
type RedisServer struct{ own }

// PostgresServer is a PostgreSQL for one test. A method of PostgresServer that cannot do its work fails the test. Call
// the methods only from the test's goroutines.
type PostgresServer struct{ own }

// own is the server of one test. The test can stop the server, and start it again with the same data and address.
type own struct {
	t       testing.TB
	options embedded.Options
	url     string
	forgets bool // it loses its data at a restart

	mu      sync.Mutex
	running *embedded.Servers // nil while stopped
	process *os.Process
}

// OwnRedis starts a Redis for one test. After Kill and Start the Redis still has
// its data.
func OwnRedis(t testing.TB) *RedisServer {
	t.Helper()
	s := &RedisServer{own{t: t, options: embedded.Options{Redis: true, Ephemeral: true}}}
	s.prepare()
	return s
}

// ForgetfulRedis starts a Redis for one test. The Redis writes nothing to disk, so it is empty after Kill and Start.
func ForgetfulRedis(t testing.TB) *RedisServer {
	t.Helper()
	s := &RedisServer{own{t: t, options: embedded.Options{Redis: true, Ephemeral: true}, forgets: true}}
	s.prepare()
	return s
}

// OwnPostgres starts a PostgreSQL for one test, with an empty database. After Stop and Start the server still has its
// data.
func OwnPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	s := &PostgresServer{own{t: t, options: embedded.Options{Postgres: true, Ephemeral: true}}}
	s.prepare()
	return s
}

func (o *own) prepare() {
	o.t.Helper()
	if binary == nil {
		o.t.Fatal("servertest.Main must be called from TestMain")
	}
	o.prepareIn(binary.home.folder())
}

func (o *own) prepareIn(folder string) {
	o.t.Helper()
	o.options.DataDir = folder
	o.t.Cleanup(o.end)
	o.Start()
}

// URL returns the server's address, which never changes.
func (o *own) URL() string { return o.url }

// Start starts the server again with its old data, and returns when the server answers.
func (o *own) Start() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running != nil {
		o.t.Fatal("start test server: it runs already")
	}
	if o.forgets {
		if err := os.RemoveAll(o.redisFolder()); err != nil {
			o.t.Fatalf("start test server: %v", err)
		}
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
	if o.forgets {
		if err := command(context.WithoutCancel(o.t.Context()), o.url, "CONFIG", "SET", "appendonly", "no"); err != nil {
			o.t.Fatalf("make test Redis forgetful: %v", err)
		}
	}
}

func (o *own) redisFolder() string { return filepath.Join(o.options.DataDir, "redis") }

// crash sends a signal that ends the server at once. It returns when the server has
// ended.
func (o *own) crash(signal syscall.Signal) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running == nil {
		return
	}
	o.signal(signal)
	select {
	case err := <-o.running.Failed():
		o.t.Logf("as the test wants it: %v", err)
	case <-time.After(2 * stopLimit): // PostgreSQL gives its processes 5 s by a clock that may have been set back
		o.t.Fatal("stop test server: it does not end")
	}
	o.close()
}

func (o *own) signal(signal syscall.Signal) {
	o.t.Helper()
	if o.running == nil {
		o.t.Fatal("signal test server: it does not run")
	}
	if err := o.process.Signal(signal); err != nil {
		o.t.Fatalf("signal test server: %v", err)
	}
}

func (o *own) close() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := o.running.Close(ctx); err != nil {
		o.t.Errorf("stop test server: %v", err)
	}
	o.running = nil
}

func (o *own) end() {
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

// Kill ends Redis by SIGKILL and returns when it is gone. After the next Start, Redis has all data whose write it had
// acknowledged, unless Flush was called in between.
func (s *RedisServer) Kill() {
	s.t.Helper()
	s.crash(syscall.SIGKILL)
}

// Flush deletes all data of Redis: at once if Redis runs, otherwise before its next
// start.
func (s *RedisServer) Flush() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.running != nil {
		err = command(context.WithoutCancel(s.t.Context()), s.url, "FLUSHALL")
	} else {
		var files []string
		files, err = filepath.Glob(filepath.Join(s.redisFolder(), "*"))
		for _, file := range files {
			err = errors.Join(err, os.RemoveAll(file))
		}
	}
	if err != nil {
		s.t.Fatalf("flush test Redis: %v", err)
	}
}

// Backup copies Redis's files, which have every acknowledged write. The returned function restores the files from the
// copy; call it while Redis does not run.
func (s *RedisServer) Backup() (restore func()) {
	s.t.Helper()
	saved := filepath.Join(s.options.DataDir, "backup")
	replace := func(to, from string) {
		s.t.Helper()
		// Use the program cp, because it keeps the owner of the files.
		if err := errors.Join(os.RemoveAll(to), exec.Command("cp", "-a", from, to).Run()); err != nil {
			s.t.Fatalf("copy test Redis's data: %v", err)
		}
	}
	replace(saved, s.redisFolder())
	return func() {
		s.t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running != nil {
			s.t.Fatal("restore test Redis: it runs")
		}
		replace(s.redisFolder(), saved)
	}
}

// Pause suspends Redis (SIGSTOP): connections stay open and get no answer until Resume.
func (s *RedisServer) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(syscall.SIGSTOP)
}

// Resume lets Redis continue after Pause.
func (s *RedisServer) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(syscall.SIGCONT)
}

// Log returns the path of PostgreSQL's log file.
func (s *PostgresServer) Log() string { return filepath.Join(s.options.DataDir, "postgres.log") }

// Stop ends PostgreSQL by an immediate shutdown, which is like a crash, and returns when it is
// gone.
func (s *PostgresServer) Stop() {
	s.t.Helper()
	s.crash(syscall.SIGQUIT)
}

// revive starts PostgreSQL again if it has ended by itself. revive returns when PostgreSQL answers.
func (s *PostgresServer) revive() {
	s.t.Helper()
	for deadline := time.Now().Add(stopLimit); ; {
		if s.collapsed() {
			s.Start()
			return
		}
		// The server may be about to end, or may be recovering from a crash. It answers only after the recovery.
		err := execute(context.WithoutCancel(s.t.Context()), s.url, "SELECT 1")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("revive test server: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// collapsed reports whether the server has ended by itself. If so, it also releases
// what belonged to the server.
func (s *PostgresServer) collapsed() bool {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case err := <-s.running.Failed():
		s.t.Logf("as the test wants it: %v", err)
		s.close()
		return true
	default:
		return false
	}
}
