package servertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long a server of a test may take to start, to stop, or to reach the state that a test asks for.
const Patience = 3 * time.Minute

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
	if err := runMoreAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	home, err := newHome()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = &servers{home: home, models: map[string]*model{}}
	// Temporary files of the tests and of their child processes go into this folder, too.
	if err := os.Setenv("TMPDIR", home.path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
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

// shared returns the servers that all tests of this binary share. If TestMain did not call Main, it fails the test.
func shared(t testing.TB) *servers {
	t.Helper()
	if binary == nil {
		t.Fatal("servertest.Main must be called from TestMain")
	}
	return binary
}

// atOnce is how many parallel tests run at once for each processor, unless the flag -parallel says otherwise. A test
// often waits for servers. With more at once a slow machine has so much to do that tests exceed their time limits.
const atOnce = 2

// runMoreAtOnce sets the flag -parallel, if nobody has set it.
func runMoreAtOnce() error {
	const name = "test.parallel"
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return nil
	}
	return flag.Set(name, strconv.Itoa(atOnce*runtime.GOMAXPROCS(0)))
}
