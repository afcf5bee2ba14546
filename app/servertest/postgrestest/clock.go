package postgrestest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outboxd/app/embedded"
	"outboxd/app/servertest"
)

// Clock is the clock that one PostgreSQL sees. The machine's clock does not change. Call Step only from the
// test's goroutine.
type Clock struct {
	t    testing.TB
	file string // read by the library: the seconds to add
}

// librariesOfTime are the paths where libfaketime may be installed.
var librariesOfTime = []string{
	"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1",
}

// OwnClock restarts the server with a clock that the test can set. OwnClock returns nil if libfaketime is not
// installed.
func (s *Server) OwnClock() *Clock {
	s.t.Helper()
	library := ""
	for _, pattern := range librariesOfTime {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the patterns are well formed
			library = found[0]
			break
		}
	}
	if library == "" {
		s.t.Log("PostgreSQL gets no clock of its own: libfaketime is not installed")
		return nil
	}
	server, folder := s.own.Program(), servertest.Folder(s.t)
	clock := &Clock{t: s.t, file: filepath.Join(folder, "clock")}
	if err := os.Mkdir(folder, 0o755); err != nil { // another account has to read it
		s.t.Fatalf("make the clock: %v", err)
	}
	clock.Step(0)
	// Only the server may load the library, so a script starts the server with LD_PRELOAD. The monotonic clock stays
	// real, so durations stay right.
	preload := fmt.Sprintf("export LD_PRELOAD='%s' FAKETIME_TIMESTAMP_FILE='%s' FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n", library, clock.file)
	for name, before := range map[string]string{"postgres": preload, "initdb": ""} {
		program := fmt.Sprintf("#!/bin/sh\n%sexec '%s' \"$@\"\n", before, filepath.Join(filepath.Dir(server), name))
		if err := os.WriteFile(filepath.Join(folder, name), []byte(program), 0o755); err != nil {
			s.t.Fatalf("make the clock: %v", err)
		}
	}
	s.Stop()
	s.own.Change(func(o *embedded.Options) { o.PostgresBin = folder })
	s.Start()
	return clock
}

// Step sets the server's clock ahead of the machine's clock by whole seconds; a
// negative duration sets it behind.
func (c *Clock) Step(by time.Duration) {
	c.t.Helper()
	// The server reads this file at every query of the time, so replace the file
	// atomically.
	next := c.file + ".next"
	err := os.WriteFile(next, fmt.Appendf(nil, "%+d\n", int(by.Seconds())), 0o644) // another account has to read it
	if err == nil {
		err = os.Rename(next, c.file)
	}
	if err != nil {
		c.t.Fatalf("set PostgreSQL's clock: %v", err)
	}
}
