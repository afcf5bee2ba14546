package schedules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

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
		"no midnight, east":       {"0 9 * * 4", "Africa/Cairo", "2026-04-22T00:00:00Z", []string{"2026-04-23T07:00:00Z", "2026-04-30T06:00:00Z"}},
		"no midnight, west":       {"0 9 * * 6", "America/Santiago", "2026-09-04T00:00:00Z", []string{"2026-09-05T13:00:00Z", "2026-09-12T12:00:00Z"}},
		"the day of the change":   {"30 9 * * 5", "Africa/Cairo", "2026-04-17T12:00:00Z", []string{"2026-04-24T06:30:00Z", "2026-05-01T06:30:00Z"}},
		"half an hour forward":    {"0 5 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T18:00:00Z", "2026-10-04T18:00:00Z"}},
		"any hour of that day":    {"0 * * * 5", "Africa/Cairo", "2026-04-23T20:00:00Z", []string{"2026-04-23T22:00:00Z", "2026-04-23T23:00:00Z"}},
		"a day that is not":       {"0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"}},
		"without a zone's change": {"@daily", "UTC", "2026-03-28T12:00:00Z", []string{"2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"}},
		"distance":                {"@every 90m", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:30:00Z", "2026-03-29T03:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schedule, err := schedules.Parse(c.cron, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if at = schedule.Next(at); at.UTC().Format(time.RFC3339) != want {
					t.Fatalf("tick at %s, want %s", at.UTC().Format(time.RFC3339), want)
				}
			}
		})
	}
}

// Around every change of the clock, the ticks are those that the rules of Cron give if one looks at each minute. The
// ticks are whole minutes, as the changes of this year are.
func TestTicksAreThoseOfTheLocalTime(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "Africa/Cairo", "Africa/Casablanca", "America/Santiago", "America/Havana", "Asia/Beirut", "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Chatham"} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, expression := range []string{"30 2 * * *", "0 0 * * *", "15,45 0-3 * * *", "0 9 * * 4", "30 9 * * 5,6", "0 9 * * 0", "0 * * * 5", "*/20 * * * 0,1", "59 23 28-31 * *", "0 5 1 * *", "0 0 * * 5,6,0"} {
			schedule, err := schedules.Parse(expression, zone)
			if err != nil {
				t.Fatal(err)
			}
			_, change := time.Date(2026, 1, 1, 0, 0, 0, 0, place).ZoneBounds()
			for ; change.Year() < 2027 && !change.IsZero(); _, change = change.ZoneBounds() {
				from, to := change.AddDate(0, 0, -4), change.AddDate(0, 0, 4)
				want := minutesOf(t, expression, from, to)
				var got []time.Time
				for tick := schedule.Next(from); tick.Before(to); tick = schedule.Next(tick) {
					got = append(got, tick)
				}
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("%q in %s around %v ticks at\n%v, want\n%v", expression, zone, change, got, want)
				}
			}
		}
	}
}

// minutesOf returns the ticks between two times, from a look at each minute. cron's own search is asked
// about local times only, as if they were UTC.
func minutesOf(t *testing.T, expression string, from, to time.Time) (ticks []time.Time) {
	t.Helper()
	spec, err := cron.ParseStandard(expression)
	if err != nil {
		t.Fatal(err)
	}
	ticksAt := func(local time.Time) bool { return spec.Next(local.Add(-time.Second)).Equal(local) }
	asUTC := func(at time.Time) time.Time {
		return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, time.UTC)
	}
	star := strings.Fields(expression)[1] == "*"
	latest := asUTC(from) // the latest local time so far
	for at := from.Add(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		local := asUTC(at)
		due := ticksAt(local) && (star || local.After(latest))
		for skipped := latest.Add(time.Minute); !star && skipped.Before(local); skipped = skipped.Add(time.Minute) {
			due = due || ticksAt(skipped)
		}
		if due {
			ticks = append(ticks, at)
		}
		if local.After(latest) {
			latest = local
		}
	}
	return ticks
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
