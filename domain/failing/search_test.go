package failing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
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

// Search lists the events in flight, newest first.
func (e events) Search(_ context.Context, _ lives.Filter, before domain.ID, limit int) (page lives.Page, _ error) {
	for _, id := range slices.Backward(e.ids) {
		switch {
		case !before.IsZero() && string(id[:]) >= string(before[:]):
		case len(page.Events) == limit:
			page.Next = page.Events[limit-1].ID
			return page, nil
		default:
			page.Events = append(page.Events, lives.Summary{ID: id, State: lives.StateInFlight, Queue: "q", Type: "a"})
			page.Examined++
		}
	}
	return page, nil
}

// The newest 10 of 14 events are in flight, the others are failing. A search that leaves out the events in flight
// goes on until it has found one, or says that it stopped.
func TestEventsAreLeftOutByAStateThatOnlyRedisKnows(t *testing.T) {
	t.Parallel()
	in, failed := failingTasks(14)
	for _, id := range in.ids[4:] {
		delete(failed.errors, id.String())
	}
	reader := failing.Lives{Reader: in, Tasks: failed, Patience: time.Minute}
	notInFlight := lives.Filter{NotStates: []lives.State{lives.StateInFlight}}
	page, err := reader.Search(t.Context(), notInFlight, domain.ID{}, 3)
	if err != nil || len(page.Events) != 2 || page.Events[0].State != lives.StateFailing || page.Examined != 12 || page.Next.IsZero() || page.GaveUp {
		t.Errorf("not in flight: %+v, %v", page, err)
	}
	page, err = reader.Search(t.Context(), lives.Filter{NotStates: []lives.State{lives.StateFailing}}, domain.ID{}, 100)
	if err != nil || len(page.Events) != 10 || page.Events[9].State != lives.StateInFlight {
		t.Errorf("not failing: %+v, %v", page, err)
	}
	reader.Patience = -1
	page, err = reader.Search(t.Context(), notInFlight, domain.ID{}, 3)
	if err != nil || len(page.Events) != 0 || !page.GaveUp || page.Next.IsZero() {
		t.Errorf("without patience: %+v, %v", page, err)
	}
	// Without Redis nobody knows which events in flight are failing.
	if _, err := (failing.Lives{Reader: in}).Search(t.Context(), notInFlight, domain.ID{}, 3); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("without Redis: %v", err)
	}
}

// silent is a Redis that does not answer.
type silent struct{ tasks }

func (silent) All(context.Context, int) ([]queued.TaskRef, bool, error) {
	return nil, false, domain.Errorf(domain.CodeUnavailable, "Redis is away")
}

func (silent) Failing(context.Context, []queued.TaskRef) (map[string]queued.FailingTask, error) {
	return nil, domain.Errorf(domain.CodeUnavailable, "Redis is away")
}

// Without Redis, nobody knows which events in flight are failing. Who changes events must not take those that the
// choice leaves out.
func TestWithoutRedisAChoiceOfFailingEventsIsNotSure(t *testing.T) {
	t.Parallel()
	in, _ := failingTasks(3)
	for name, reader := range map[string]failing.Lives{"away": {Reader: in, Tasks: silent{}}, "not named": {Reader: in}} {
		for _, c := range []struct {
			filter lives.Filter
			sure   bool
		}{
			{lives.Filter{State: lives.StateInFlight}, false},
			{lives.Filter{NotStates: []lives.State{lives.StateFailing}}, false},
			{lives.Filter{Open: true, NotErrors: []string{"timeout"}}, false},
			{lives.Filter{Type: "a"}, true},
			{lives.Filter{Type: "a", Open: true}, true},
			{lives.Filter{NotStates: []lives.State{lives.StateFailing, lives.StateInFlight}}, true},
			{lives.Filter{State: lives.StatePending}, true},
		} {
			page, err := reader.Search(t.Context(), c.filter, domain.ID{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			counted, err := reader.Count(t.Context(), c.filter, 10, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{"page": page.Sure(&c.filter), "count": counted.Sure(&c.filter)} {
				if (err == nil) != c.sure || err != nil && domain.ErrorCode(err) != domain.CodeUnavailable {
					t.Errorf("Redis is %s, %+v: of the %s it says %v", name, c.filter, what, err)
				}
			}
		}
	}
}
