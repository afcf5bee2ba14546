package shell_test

import (
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell/shelltest"
)

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
			page := shelltest.Content(t, form.template, form.data(matched))
			if offers, says := strings.Contains(page, "<button"), strings.Contains(page, form.none); offers != (matched > 0) || says == offers {
				t.Errorf("%s, %d match: a button: %t; says that nothing matches: %t", name, matched, offers, says)
			}
		}
	}
	// A count that ran out of time may have found nothing yet.
	if page := shelltest.Content(t, "cancel", &forms.Cancel{More: true}); !strings.Contains(page, "<button") {
		t.Error("no button although events may match")
	}
}

func TestAFormSaysOfHowManyTypesItNamesNone(t *testing.T) {
	t.Parallel()
	largest := []domain.TypeCount{{Type: "a", Count: 3}}
	for types, want := range map[int]string{2: "and 1 other type<", 12: "and 11 other types<"} {
		if page := shelltest.Content(t, "change", &forms.Change{Action: "replay", DeadCount: domain.DeadCount{Matched: 30, Types: types, Largest: largest}}); !strings.Contains(page, want) {
			t.Errorf("of %d types the form does not say %q:\n%s", types, want, page)
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
		page := shelltest.Content(t, template, data)
		if before, _, _ := strings.Cut(page, "<form"); !strings.Contains(before, written) || strings.Contains(before, until) {
			t.Errorf("%s: %s", template, before)
		}
	}
	change.Until = "1h"
	if page := shelltest.Content(t, "change", &change); !strings.Contains(page, "Those of type a, that died until 1h.") {
		t.Errorf("how long ago is not as it was written: %s", page)
	}
}
