package postgrestest_test

import (
	"runtime"
	"testing"
	"time"

	"outboxd/app/servertest/postgrestest"
)

func TestAClockIsSet(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	ask(t, server.URL(), "CREATE TABLE kept AS SELECT 1 AS n")
	clock := server.OwnClock()
	if clock == nil {
		if runtime.GOOS == "linux" {
			t.Fatal("libfaketime is missing: .ci/setup faketime")
		}
		return // only Linux lets a server be given a clock this way
	}
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		clock.Step(by)
		now, ok := ask(t, server.URL(), "SELECT clock_timestamp()").(time.Time)
		if off := time.Until(now) - by; !ok || off.Abs() > 10*time.Minute {
			t.Errorf("PostgreSQL's clock is off by %v when it was set to %v", off, by)
		}
	}
	if n := ask(t, server.URL(), "SELECT n FROM kept"); n != 1 {
		t.Errorf("%v is left of what had committed", n)
	}
}
