package schedules_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/repository/schedules"
)

// The local clock is put forward and back. Each tick comes once.
func TestTicksWhenTheClockIsPutForwardAndBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cron, zone, after string
		want              []string
	}{
		"skipped in spring":       {"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"after the gap":           {"0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
		"two in the gap":          {"0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		"twice in autumn":         {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"any hour in spring":      {"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"}},
		"any hour in autumn":      {"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
		"midnight that is not":    {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
		"half an hour put back":   {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		"without a zone's change": {"@daily", "UTC", "2026-03-28T12:00:00Z", []string{"2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"}},
		"distance":                {"@every 90m", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:30:00Z", "2026-03-29T03:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cron, err := schedules.Parse(c.cron, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if at = cron.Next(at); at.UTC().Format(time.RFC3339) != want {
					t.Fatalf("tick at %s, want %s", at.UTC().Format(time.RFC3339), want)
				}
			}
		})
	}
}

// What can never tick is refused, with a sentence that says what to write.
func TestBadExpressionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cron, zone, says string }{
		{"", "UTC", "write five fields"},
		{"* * *", "UTC", "write five fields"},
		{"0 0 3 * * *", "UTC", "write five fields"},
		{"61 * * * *", "UTC", "write five fields"},
		{"@sometimes", "UTC", "write five fields"},
		{"0 0 30 2 *", "UTC", "no day in the next years"},
		{"@every 5s", "UTC", "at least 1m0s apart"},
		{"CRON_TZ=UTC 0 3 * * *", "UTC", "time_zone"},
		{"0 3 * * *", "Middle/Earth", "IANA"},
		{"0 3 * * *", "Local", "IANA"},
	} {
		_, err := schedules.Parse(c.cron, c.zone)
		if domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Parse(%q, %q): %v, want %q", c.cron, c.zone, err, c.says)
		}
	}
}
