// Package servertest gives tests real servers. Each test gets a database and a Redis
// database of its own, from one PostgreSQL and one Redis per test binary. A test can
// also have servers of its own, to kill, fill, promote or restore.
//
// It is for tests only. Its databases are empty: package schematest makes outboxd's
// schema. Package faulttest plays faults between a client and its server.
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

// stopLimit bounds the stop of each server.
const stopLimit = 30 * time.Second

// binary has the servers of the test binary. It is a variable, because TestMain runs once per
// process.
var binary *servers

// Main runs a package's tests; call it from TestMain and nothing after it. The binary's PostgreSQL and Redis start when a test first
// asks for them, in a private temporary folder, and stop at the end. A goroutine that is still running then fails the run.
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
	// What tests and their child processes make for a while belongs there, too.
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
		// After a failure a leaked goroutine is no news, and would hide the
		// failure.
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
