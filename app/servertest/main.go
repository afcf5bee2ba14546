// Package servertest gives tests real servers: a database and a Redis database of their own from one PostgreSQL and one Redis
// per test binary, and servers of their own that a test may kill, fill, promote or restore.
//
// It is for tests only. It knows nothing of outboxd's schema, which package schematest makes; what it gives is empty. Faults
// between a client and its server are package faulttest's.
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

// binary is the test binary's share of servers. There is one per process by the nature of TestMain, which is why it is a variable.
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
	binary = &servers{home: home}
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := binary.close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		// What runs after a failure says nothing new, and would hide it.
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
