package setups

import (
	"strings"
	"testing"
)

const scheduleHead = "- {name: a, cron: '0 3 * * *', time_zone: UTC, type: report:make, payload: "

// The JSON of a payload has the dates and numbers that the file has.
func TestAPayloadIsWhatTheFileSays(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		"{from: 2026-01-01, at: 2026-01-01T10:00:00Z}": `{"at":"2026-01-01T10:00:00Z","from":"2026-01-01"}`,
		"{n: 18, part: 0.25, e: 1e3, off: -7}":         `{"e":1000,"n":18,"off":-7,"part":0.25}`,
		"[&d 2026-01-01, *d, {'2026-01-01': yes}]":     `["2026-01-01","2026-01-01",{"2026-01-01":"yes"}]`,
		"{2026-01-01: true, none: null, zip: '01234'}": `{"2026-01-01":true,"none":null,"zip":"01234"}`,
	} {
		list, err := readSchedules(strings.NewReader(scheduleHead + payload + "}"))
		if err != nil {
			t.Errorf("%s: %v", payload, err)
		} else if got := string(list[0].Event.Payload); got != want {
			t.Errorf("%s becomes %s, want %s", payload, got, want)
		}
	}
	for _, number := range []string{"01234", "0x1F", "1_000", "+1", ".5", ".inf", ".nan", "0o17", "12345678901234567890"} {
		if _, err := readSchedules(strings.NewReader(scheduleHead + "{n: " + number + "}}")); err == nil || !strings.Contains(err.Error(), "in quotes") || !strings.Contains(err.Error(), number) {
			t.Errorf("the number %s: %v", number, err)
		}
	}
}
