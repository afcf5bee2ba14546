package dashboard

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/sight"
)

// content renders the content of a page for an admin.
func content(t *testing.T, template string, data any) string {
	t.Helper()
	var page bytes.Buffer
	v := view{Page: Page{Template: template, Data: data}, Visitor: Visitor{Identity: access.Identity{Name: "ada", Role: access.Admin}}}
	if err := parsePages()[template].ExecuteTemplate(&page, "content", v); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestAFormOffersItsButtonOnlyIfSomethingMatches(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]struct {
		template string
		data     func(matched int64) any
		none     string
	}{
		"replay":  {"change", func(n int64) any { return &forms.Change{Action: "replay", DeadCount: domain.DeadCount{Matched: n}} }, "No dead letter matches"},
		"discard": {"change", func(n int64) any { return &forms.Change{Action: "discard", DeadCount: domain.DeadCount{Matched: n}} }, "No dead letter matches"},
		"retry":   {"failing-change", func(n int64) any { return &forms.Failing{Action: domain.ActionRetry, Type: "a", Matched: n} }, "No failing event matches"},
		"give up": {"failing-change", func(n int64) any { return &forms.Failing{Action: domain.ActionGiveUp, Type: "a", Matched: n} }, "No failing event matches"},
		"cancel":  {"cancel", func(n int64) any { return &forms.Cancel{Matched: n} }, "No event that matches can be cancelled"},
	} {
		for _, matched := range []int64{0, 1} {
			page := content(t, form.template, form.data(matched))
			if offers, says := strings.Contains(page, "<button"), strings.Contains(page, form.none); offers != (matched > 0) || says == offers {
				t.Errorf("%s, %d match: a button: %t; says that nothing matches: %t", name, matched, offers, says)
			}
		}
	}
	// A count that ran out of time may have found nothing yet.
	if page := content(t, "cancel", &forms.Cancel{More: true}); !strings.Contains(page, "<button") {
		t.Error("no button although events may match")
	}
}

func TestAFormSaysOfHowManyTypesItNamesNone(t *testing.T) {
	t.Parallel()
	largest := []domain.TypeCount{{Type: "a", Count: 3}}
	for types, want := range map[int]string{2: "and 1 other type<", 12: "and 11 other types<"} {
		if page := content(t, "change", &forms.Change{Action: "replay", DeadCount: domain.DeadCount{Matched: 30, Types: types, Largest: largest}}); !strings.Contains(page, want) {
			t.Errorf("of %d types the form does not say %q:\n%s", types, want, page)
		}
	}
}

// A part of the choice that a link set can be removed again, and the rest stays.
func TestAChoiceThatNoFieldShowsCanBeRemoved(t *testing.T) {
	t.Parallel()
	var p deadPage
	p.Type, p.ErrorForm, p.NotErrorForms = "a", "no invoice #", []string{"b", "c"}
	page := content(t, "dead", &p)
	for _, want := range []string{
		`only: no invoice # <a href="dead?not-error-form=b&amp;not-error-form=c&amp;type=a"`,
		`not: b <a href="dead?error-form=no&#43;invoice&#43;%23&amp;not-error-form=c&amp;type=a"`,
		`not: c <a href="dead?error-form=no&#43;invoice&#43;%23&amp;not-error-form=b&amp;type=a"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
}

func TestAFormWritesTimesAsThePagesDo(t *testing.T) {
	t.Parallel()
	const until, written = "2026-11-28T14:02:36.884643Z", `until <time datetime="2026-11-28T14:02:36.884Z">2026-11-28T14:02:36.884Z</time>`
	var change forms.Change
	change.Type, change.Until = "a", until
	var cancel forms.Cancel
	cancel.Type, cancel.Until = "a", until
	for template, data := range map[string]any{"change": &change, "cancel": &cancel} {
		page := content(t, template, data)
		if before, _, _ := strings.Cut(page, "<form"); !strings.Contains(before, written) || strings.Contains(before, until) {
			t.Errorf("%s: %s", template, before)
		}
	}
	change.Until = "1h"
	if page := content(t, "change", &change); !strings.Contains(page, "Those of type a, that died until 1h.") {
		t.Errorf("how long ago is not as it was written: %s", page)
	}
}

// Confirmed events are counted later than emitted ones, so each figure says up to when.
func TestTheOverviewSaysUpToWhenItCounted(t *testing.T) {
	t.Parallel()
	var s sight.State
	s.Quick.Standing.At = time.Now()
	says := func() string { return content(t, "overview", overviewData{State: &s}) }
	if page := says(); strings.Count(page, "not counted yet") != 2 {
		t.Errorf("without a sample: %s", page)
	}
	now := s.Quick.Standing.At
	s.Quick.Standing.SampledAt, s.Quick.Standing.EmittedUntil, s.Quick.Standing.ConfirmedUntil = now, now.Add(-7*time.Second), now.Add(-17*time.Second)
	if page := says(); !strings.Contains(page, "in the last day, up to 7 s ago") || !strings.Contains(page, "in the last day, up to 17 s ago") {
		t.Errorf("with a sample: %s", page)
	}
}

func TestThePageOfEventsSaysHowManyMatch(t *testing.T) {
	t.Parallel()
	for want, matched := range map[string]lives.Counted{
		"<strong>1</strong> event matches.":               {Events: 1, All: true},
		"<strong>10,000</strong> events match.":           {Events: 10_000, All: true},
		"More than <strong>10,000</strong> events match.": {Events: 10_001, All: true},
		"At least <strong>1,204</strong> events match.":   {Events: 1204},
	} {
		page := content(t, "events", &eventsPage{Page: lives.Page{Events: make([]lives.Summary, 1)}, Matched: matched})
		if !strings.Contains(page, `<p role="status">`+want+"</p>") {
			t.Errorf("of %+v the page does not say %q", matched, want)
		}
	}
	if page := content(t, "events", &eventsPage{Page: lives.Page{Events: make([]lives.Summary, 1)}}); strings.Contains(page, "events match") {
		t.Error("a count that found nothing in time is shown")
	}
}

func TestAnEmptyListSaysHowLongConfirmedEventsAreKept(t *testing.T) {
	t.Parallel()
	for history, want := range map[time.Duration]string{
		7 * 24 * time.Hour: "No matching events. Confirmed events are kept for 7 d.",
		0:                  "No matching events. The option relay.history says",
	} {
		if page := content(t, "events", &eventsPage{First: true, Page: lives.Page{History: history}}); !strings.Contains(page, want) {
			t.Errorf("with a history of %s the page does not say %q", history, want)
		}
	}
}
