// Package servertest starts real servers for tests. Each test gets a database and a Redis
// database of its own, from one PostgreSQL and one Redis per test binary. A test
// can also start its own servers, to kill them, fill their disk, promote them or
// restore them from a backup.
//
// It is for tests only. The databases are empty: package schematest adds outboxd's
// schema. Package faulttest simulates faults between a client and its server.
package servertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// stopLimit is how long stopping one server may take.
const stopLimit = 30 * time.Second

// binary has the servers that all tests of this test binary share. binary is a package variable, because TestMain runs
// once per process.
var binary *servers

// Main runs a package's tests and exits. Call it from TestMain. The binary's PostgreSQL and Redis start when a test
// first asks for them, in a private temporary folder, and stop at the end. If a goroutine still runs after that, the
// test run fails.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	home, err := newHome()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = &servers{home: home, models: map[string]*model{}}
	// Temporary files of the tests and of their child processes go there, too.
	if err := os.Setenv("TMPDIR", home.path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := binary.close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		// Look for leaked goroutines only if the tests passed: a failed test often
		// leaks some, and that report would hide the failure.
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
