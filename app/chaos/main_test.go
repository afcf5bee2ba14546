package chaos

import (
	"os"
	"testing"

	"outboxd/app"
	"outboxd/app/servertest"
)

// processVariable turns the test binary into outboxd, race detector and all.
const processVariable = "CHAOS_TEST_OUTBOXD"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(processVariable) != "":
		os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, app.Build{Version: "1.2.3"}))
	case HasDuty():
		os.Exit(Main(os.Stderr))
	default:
		servertest.Main(m)
	}
}
