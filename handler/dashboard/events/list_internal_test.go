package events

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/lives"
	"outboxd/handler/dashboard/shell/shelltest"
)

func TestThePageOfEventsSaysHowManyMatch(t *testing.T) {
	t.Parallel()
	for want, matched := range map[string]lives.Counted{
		"<strong>1</strong> event matches.":               {Events: 1, All: true},
		"<strong>10,000</strong> events match.":           {Events: 10_000, All: true},
		"More than <strong>10,000</strong> events match.": {Events: 10_001, All: true},
		"At least <strong>1,204</strong> events match.":   {Events: 1204},
	} {
		page := shelltest.Content(t, "events", &eventsPage{Page: lives.Page{Events: make([]lives.Summary, 1)}, Matched: matched})
		if !strings.Contains(page, `<p role="status">`+want+"</p>") {
			t.Errorf("of %+v the page does not say %q", matched, want)
		}
	}
	if page := shelltest.Content(t, "events", &eventsPage{Page: lives.Page{Events: make([]lives.Summary, 1)}}); strings.Contains(page, "events match") {
		t.Error("a count that found nothing in time is shown")
	}
}

func TestAnEmptyListSaysHowLongConfirmedEventsAreKept(t *testing.T) {
	t.Parallel()
	for history, want := range map[time.Duration]string{
		7 * 24 * time.Hour: "No matching events. Confirmed events are kept for 7 d.",
		0:                  "No matching events. The option relay.history says",
	} {
		if page := shelltest.Content(t, "events", &eventsPage{First: true, Page: lives.Page{History: history}}); !strings.Contains(page, want) {
			t.Errorf("with a history of %s the page does not say %q", history, want)
		}
	}
}
