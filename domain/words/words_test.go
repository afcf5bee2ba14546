package words_test

import (
	"testing"
	"time"

	"outboxd/domain/words"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		words.Count(0): "0", words.Count(999): "999", words.Count(12500): "12,500", words.Count(int64(-1234567)): "−1,234,567",
		words.Many(1, "task"): "1 task", words.Many(0, "task"): "0 tasks", words.Many(12500, "task"): "12,500 tasks",
		words.Plural(1, "it waits", "they wait"): "it waits", words.Plural(2, "it waits", "they wait"): "they wait",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDurationsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "2d": 48 * time.Hour, "3d4h": 76 * time.Hour, "1.5d": 36 * time.Hour, "-1h": -time.Hour, "0": 0, "500ms": 500 * time.Millisecond,
	} {
		if got, err := words.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, d := range []time.Duration{0, 7 * time.Second, 21*time.Minute + 15*time.Second, 76 * time.Hour, 2000 * 24 * time.Hour} {
		if got, err := words.ParseDuration(words.Duration(d)); err != nil || got != d {
			t.Errorf("%q is %v, %v, want %v", words.Duration(d), got, err, d)
		}
	}
	for _, text := range []string{"", "2", "d", "2d-1h", "99999999999d", "1h2d"} {
		if got, err := words.ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		-time.Second:            {"0 s", "less than 1 s"},
		0:                       {"0 ms", "less than 1 s"},
		1:                       {"under 1 ms", "less than 1 s"},
		999 * time.Microsecond:  {"under 1 ms", "less than 1 s"},
		time.Millisecond:        {"1 ms", "less than 1 s"},
		15 * time.Millisecond:   {"15 ms", "less than 1 s"},
		time.Second:             {"1 s", "1 s"},
		9990 * time.Millisecond: {"9.9 s", "9 s"},
		59 * time.Second:        {"59 s", "59 s"},
		15 * time.Minute:        {"15 min", "15 min"},
		1275 * time.Second:      {"21 min 15 s", "21 min"},
		time.Hour:               {"1 h", "1 h"},
		90 * time.Minute:        {"1 h 30 min", "1 h"},
		76 * time.Hour:          {"3 d 4 h", "3 d"},
		48 * time.Hour:          {"2 d", "2 d"},
	} {
		if got := [2]string{words.Duration(d), words.Rough(d)}; got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	now := time.Now()
	for ago, want := range map[time.Duration]string{0: "just now", -time.Hour: "just now", 5500 * time.Millisecond: "5 s ago", 75 * time.Second: "1 min 15 s ago"} {
		if got := words.Ago(now, now.Add(-ago)); got != want {
			t.Errorf("%v: %q, want %q", ago, got, want)
		}
	}
	for rate, want := range map[float64]string{0: "0/s", 0.05: "3.0/min", 4.44: "4.4/s", 12499.6: "12,500/s"} {
		if got := words.Rate(rate); got != want {
			t.Errorf("%v: %q, want %q", rate, got, want)
		}
	}
}
