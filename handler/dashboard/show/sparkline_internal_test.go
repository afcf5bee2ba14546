package show

import (
	"testing"
	"time"

	"outboxd/domain/figures"
)

func TestSparklinesSayTheMost(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC)
	busy := []figures.Point{
		{At: at, Seconds: 60, Passed: figures.Passed{Confirmed: 750_000, Failed: 1300, P99: 71 * time.Second}, Queued: 1},
		{At: at.Add(time.Minute), Seconds: 60, Passed: figures.Passed{P99: -1}, Queued: -1},
	}
	idle := []figures.Point{{At: at, Seconds: 60, Passed: figures.Passed{P99: -1}, Queued: -1}}
	for i, want := range []struct{ name, busy, idle string }{
		{"Confirmed", "12,500/s", "0/s"},
		{"Delay, 99 %", "1 min 11 s", ""},
		{"Failed attempts", "1,300", "0"},
		{"Waited in Redis", "1 task", ""},
	} {
		line, none := Sparklines(busy, time.Hour, true, false)[i], Sparklines(idle, time.Hour, true, false)[i]
		if line.Name != want.name || line.Most != want.busy || none.Most != want.idle {
			t.Errorf("%s: at most %q, and %q when idle; want %s: %q, and %q", line.Name, line.Most, none.Most, want.name, want.busy, want.idle)
		}
	}
}
