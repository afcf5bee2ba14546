package failing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
)

// failingTasks returns a database with n events, and a Redis in which the tasks of all of them are failing.
func failingTasks(n int) (events, tasks) {
	in, failed := events{}, tasks{errors: map[string]string{}}
	for i := range n {
		id := domain.ID{6: 0x70, 8: 0x80, 14: byte(i >> 8), 15: byte(i)}
		in.ids = append(in.ids, id)
		failed.errors[id.String()] = fmt.Sprintf("timeout %d", i)
	}
	return in, failed
}

// pages returns the pages of a search for failing events.
func pages(t *testing.T, reader lives.Reader, filter lives.Filter, limit int) (all []lives.Page) {
	t.Helper()
	filter.State = lives.StateFailing
	for before := (domain.ID{}); ; {
		page, err := reader.Search(t.Context(), filter, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page)
		if before = page.Next; before.IsZero() {
			return all
		}
	}
}

// A queue may have more failing tasks than a search reads. Then every page must say that events are missing.
func TestASearchSaysThatFailingEventsAreMissing(t *testing.T) {
	t.Parallel()
	in, failed := failingTasks(5)
	for _, more := range []bool{false, true} {
		failed.more = more
		all := pages(t, failing.Lives{Reader: in, Tasks: failed, Patience: time.Minute}, lives.Filter{}, 2)
		if len(all) != 3 || len(all[2].Events) != 1 {
			t.Fatalf("%d pages, want 3: %+v", len(all), all)
		}
		for i, page := range all {
			if page.Incomplete != more || page.GaveUp || strings.Contains(page.Missing(), "more than 50,000 failing tasks") != more {
				t.Errorf("more tasks: %t, page %d: %+v, %q", more, i+1, page, page.Missing())
			}
		}
	}
}

// A search that looks at many failing tasks stops after its patience, and the next search goes on
// from where it stopped.
func TestASearchForFailingEventsStopsInTime(t *testing.T) {
	t.Parallel()
	in, failed := failingTasks(450)
	all := pages(t, failing.Lives{Reader: in, Tasks: failed}, lives.Filter{Error: "timeout 7"}, 1000)
	found := 0
	for _, page := range all {
		found += len(page.Events)
	}
	if len(all) != 3 || !all[0].GaveUp || all[0].Examined != 200 || !all[1].GaveUp || all[2].GaveUp || all[2].Examined != 50 || found != 11 {
		t.Errorf("%d pages with %d events: %+v", len(all), found, all)
	}
}
