package dashboard

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/overview"
	"outboxd/handler/dashboard/shell/shelltest"
	"outboxd/handler/dashboard/sight"
)

// Confirmed events are counted later than emitted ones, so each figure says up to when.
func TestTheOverviewSaysUpToWhenItCounted(t *testing.T) {
	t.Parallel()
	var s sight.State
	s.Quick.Standing.At = time.Now()
	says := func() string { return shelltest.Content(t, "overview", overviewData{State: &s}) }
	if page := says(); strings.Count(page, "not counted yet") != 2 {
		t.Errorf("without a sample: %s", page)
	}
	now := s.Quick.Standing.At
	s.Quick.Standing.SampledAt, s.Quick.Standing.EmittedUntil, s.Quick.Standing.ConfirmedUntil = now, now.Add(-7*time.Second), now.Add(-17*time.Second)
	if page := says(); !strings.Contains(page, "in the last day, up to 7 s ago") || !strings.Contains(page, "in the last day, up to 17 s ago") {
		t.Errorf("with a sample: %s", page)
	}
}

// A rate is only known if something was measured.
func TestTheOverviewShowsNoRateThatWasNotMeasured(t *testing.T) {
	t.Parallel()
	var s sight.State
	s.Quick.Standing.At = time.Now()
	says := func() string {
		return strings.NewReplacer(`<span class="muted" title="not known">?</span>`, "?").Replace(shelltest.Content(t, "overview", overviewData{State: &s}))
	}
	if page := says(); strings.Count(page, `<span class="now">?</span>`) != 3 || strings.Count(page, "? over the hour") != 3 || strings.Contains(page, "0/s") || !strings.Contains(page, "wait; ? died in the last hour") {
		t.Errorf("without a sample: %s", page)
	}
	s.Quick.Standing.Hour = overview.Flow{Seconds: 3600, Enqueued: 7200}
	if page := says(); strings.Count(page, `<span class="now">?</span>`) != 3 || !strings.Contains(page, "2.0/s over the hour") || !strings.Contains(page, "0/s over the hour") || !strings.Contains(page, "wait; 0 died in the last hour") {
		t.Errorf("with the rates of an hour: %s", page)
	}
}
