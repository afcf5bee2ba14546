package lives_test

import (
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
)

func TestFirstIDBoundsATime(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_790_000_000_123)
	first := domain.FirstID(at)
	if got := first.String(); got != "01a0c450-6c7b-0000-0000-000000000000" {
		t.Errorf("the first ID is %s", got)
	}
	if got := first.Before().String(); got != "01a0c450-6c7a-ffff-ffff-ffffffffffff" {
		t.Errorf("the ID before is %s", got)
	}
	if zero := domain.FirstID(time.Time{}); !zero.IsZero() || !zero.Before().IsZero() {
		t.Error("there is an ID before the first")
	}
	if got := domain.LastID().Before().String(); got != "ffffffff-ffff-ffff-ffff-fffffffffffe" {
		t.Errorf("before the last ID is %s", got)
	}
}

func TestParseMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for text, want := range map[string]string{
		"15m": "2026-03-04T04:51:07Z", " 24h ": "2026-03-03T05:06:07Z", "2026-01-02": "2026-01-02T00:00:00Z",
		"2026-01-02T03:04": "2026-01-02T03:04:00Z", "2026-01-02T03:04Z": "2026-01-02T03:04:00Z", "2026-01-02 03:04:05": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+01:00": "2026-01-02T02:04:05Z",
	} {
		if at, err := lives.ParseMoment(text, now); err != nil || at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v, want %s", text, at, err, want)
		}
	}
	for _, text := range []string{"", "-1h", "yesterday", "2026-13-01", "15"} {
		if at, err := lives.ParseMoment(text, now); domain.ErrorCode(err) != domain.CodeInvalid {
			t.Errorf("%q is %v, %v", text, at, err)
		}
	}
}

func TestATypeIsLeftOut(t *testing.T) {
	t.Parallel()
	f := lives.Filter{NotTypes: []string{"", "mail:*", "pay"}}
	for eventType, want := range map[string]bool{"mail:send": false, "mail": true, "pay": false, "pay:out": true} {
		if got := f.ErrorMatches("", eventType); got != want {
			t.Errorf("%s passes: %t", eventType, got)
		}
	}
}

func FuzzParseMoment(f *testing.F) {
	for _, seed := range []string{"15m", " 24h ", "2026-01-02", "2026-01-02 03:04", "2026-01-02T03:04:05.5+01:00", "-1h", "2562047h", "\x00"} {
		f.Add(seed)
	}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		at, err := lives.ParseMoment(text, now)
		if err != nil {
			if domain.ErrorCode(err) != domain.CodeInvalid || len(err.Error()) > 400 {
				t.Errorf("%q: %v, want it called invalid in few words", text, err)
			}
			return
		}
		if again, err := lives.ParseMoment(at.Format(time.RFC3339Nano), now); err != nil || !again.Equal(at) {
			t.Errorf("%q is %s, and that is %s, %v", text, at, again, err)
		}
	})
}
