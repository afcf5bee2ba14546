package app_test

import (
	"cmp"
	"flag"
	"io"
	"os"
	"testing"

	"outboxd/app"
	"outboxd/app/servertest"
)

// processVariable turns the test binary into outboxd, race detector and all. versionVariable sets the version that
// this outboxd has.
const (
	processVariable = "APP_TEST_PROCESS"
	versionVariable = "APP_TEST_VERSION"
)

// screenshots is where the tests of the pages leave what they saw:
// make test PKG="./app -screenshots=/tmp/outboxd" TESTFLAGS=-run=TestPages.
var screenshots = flag.String("screenshots", "", "folder for screenshots of the pages")

func TestMain(m *testing.M) {
	if os.Getenv(processVariable) == "" {
		servertest.Main(m)
		return
	}
	// The test holds the other end of standard input, so no process outlives the test.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOrphaned)
	}()
	os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr,
		app.Build{Version: cmp.Or(os.Getenv(versionVariable), "1.2.3"), Commit: "0123abc", Date: "2026-01-02T03:04:05Z"}))
}

const exitOrphaned = 99
