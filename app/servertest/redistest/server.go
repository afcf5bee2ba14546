package redistest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

// Server is a Redis for one test, as package embedded starts it with the option Ephemeral. A method of Server that
// cannot do its work fails the test. Call the methods only from the test's goroutines.
type Server struct {
	t       testing.TB
	own     *servertest.OwnServer
	forgets bool // it loses its data at a restart
}

// Start starts a Redis for one test. After Kill and Start the Redis still has its data.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, false)
}

// StartForgetful starts a Redis for one test. The Redis writes nothing to disk, so it is empty after Kill and Start.
func StartForgetful(t testing.TB) *Server {
	t.Helper()
	return start(t, true)
}

func start(t testing.TB, forgets bool) *Server {
	t.Helper()
	s := &Server{t: t, own: servertest.NewOwnServer(t, embedded.Options{Redis: true}), forgets: forgets}
	s.Start()
	return s
}

// URL returns the server's address, which never changes.
func (s *Server) URL() string { return s.own.URL() }

func (s *Server) folder() string { return filepath.Join(s.own.Folder(), "redis") }

// Start starts the server again, and returns when the server answers. The server has its old data, unless it was started
// by StartForgetful.
func (s *Server) Start() {
	s.t.Helper()
	if !s.forgets {
		s.own.Start()
		return
	}
	s.own.With(func(running bool) {
		s.t.Helper()
		if running {
			return // Start fails
		}
		if err := os.RemoveAll(s.folder()); err != nil {
			s.t.Fatalf("start test server: %v", err)
		}
	})
	s.own.Start()
	if err := servertest.Do(context.WithoutCancel(s.t.Context()), s.URL(), "CONFIG", "SET", "appendonly", "no"); err != nil {
		s.t.Fatalf("make test Redis forgetful: %v", err)
	}
}

// Kill ends Redis by SIGKILL and returns when it is gone. After the next Start, Redis has all data whose write it had
// acknowledged, unless Flush was called in between or Redis was started by StartForgetful.
func (s *Server) Kill() {
	s.t.Helper()
	s.own.Crash(syscall.SIGKILL)
}

// Flush deletes all data of Redis: at once if Redis runs, otherwise before its next
// start.
func (s *Server) Flush() {
	s.t.Helper()
	s.own.With(func(running bool) {
		s.t.Helper()
		var err error
		if running {
			err = servertest.Do(context.WithoutCancel(s.t.Context()), s.URL(), "FLUSHALL")
		} else {
			var files []string
			files, err = filepath.Glob(filepath.Join(s.folder(), "*"))
			for _, file := range files {
				err = errors.Join(err, os.RemoveAll(file))
			}
		}
		if err != nil {
			s.t.Fatalf("flush test Redis: %v", err)
		}
	})
}

// Backup copies Redis's files, which have every acknowledged write. The returned function restores the files from the
// copy; call it while Redis does not run.
func (s *Server) Backup() (restore func()) {
	s.t.Helper()
	saved := filepath.Join(s.own.Folder(), "backup")
	replace := func(to, from string) {
		s.t.Helper()
		// Use the program cp, because it keeps the owner of the files.
		if err := errors.Join(os.RemoveAll(to), exec.Command("cp", "-a", from, to).Run()); err != nil {
			s.t.Fatalf("copy test Redis's data: %v", err)
		}
	}
	replace(saved, s.folder())
	return func() {
		s.t.Helper()
		s.own.With(func(running bool) {
			s.t.Helper()
			if running {
				s.t.Fatal("restore test Redis: it runs")
			}
			replace(s.folder(), saved)
		})
	}
}

// Pause suspends Redis (SIGSTOP): connections stay open and get no answer until Resume.
func (s *Server) Pause() {
	s.t.Helper()
	s.own.Signal(syscall.SIGSTOP)
}

// Resume lets Redis continue after Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.own.Signal(syscall.SIGCONT)
}
