package dashboard_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard"
	"outboxd/handler/handlertest"
	"outboxd/repository/recall"
	"outboxd/repository/search"
)

// inFlight is a reader that finds one event in flight, with the given faults.
type inFlight struct {
	lives.Reader

	page lives.Page
}

func (r inFlight) Search(context.Context, lives.Filter, domain.ID, int) (lives.Page, error) {
	page := r.page
	page.Events = []lives.Summary{{ID: domain.ID{1}, Type: "a", State: lives.StateInFlight}}
	return page, nil
}

func (r inFlight) Count(context.Context, lives.Filter, int, time.Duration) (lives.Counted, error) {
	return lives.Counted{Events: 1, All: !r.page.Incomplete, Incomplete: r.page.Incomplete, QueueFault: r.page.QueueFault}, nil
}

// cancelled keeps how many events were cancelled.
type cancelled struct {
	domain.EventChanges

	events chan int
}

func (c cancelled) Cancel(_ context.Context, _ *domain.Action, ids []domain.ID) (changes []domain.Change, _ error) {
	for _, id := range ids {
		changes = append(changes, domain.Change{ID: id, Answer: domain.ChangeCancelled})
	}
	c.events <- len(ids)
	return changes, nil
}

func (cancelled) End(_ context.Context, _ *domain.Action, err error) error { return err }

// Without Redis, failing events are listed as in flight. A choice that leaves them out must not take them.
func TestWithoutRedisNoEventIsCancelledThatIsLeftOut(t *testing.T) {
	t.Parallel()
	done := cancelled{events: make(chan int, 10)}
	b := browser{t, serving(t, dashboard.Sources{Lives: inFlight{page: lives.Page{QueueFault: "dial tcp 10.0.0.7: refused"}}, Changes: done})}
	who := []string{"Authorization", "Bearer " + handlertest.AdminToken, "Content-Type", "application/x-www-form-urlencoded"}
	for choice, left := range map[string]bool{"type=a&not-state=failing": true, "state=in-flight": true, "type=a&not-error=timeout": true, "type=a": false} {
		for _, a := range []handlertest.Answer{b.s.Get("/events/cancel?"+choice, who...), b.s.Do(http.MethodPost, "/events/cancel", "reason=test&"+choice, who...)} {
			if left {
				if p := handlertest.WantProblem(t, a, http.StatusServiceUnavailable); !strings.Contains(p.Detail, "Redis does not say which events are failing") || strings.Contains(p.Detail, "10.0.0.7") {
					t.Errorf("%s: %s", choice, p.Detail)
				}
			} else if a.Status >= 400 {
				t.Errorf("%s: %d %s", choice, a.Status, a.Body)
			}
		}
	}
	if n := <-done.events; n != 1 || len(done.events) > 0 {
		t.Errorf("%d events were cancelled, and then %d more times", n, len(done.events))
	}
}

// A search for failing events reads a bounded number of tasks of each queue. What is cancelled then is not all.
func TestACancellationSaysThatFailingEventsWereNotRead(t *testing.T) {
	t.Parallel()
	done := cancelled{events: make(chan int, 10)}
	b := browser{t, serving(t, dashboard.Sources{Lives: inFlight{page: lives.Page{Incomplete: true}}, Changes: done})}
	page := b.page("/events/cancel?state=failing")
	if !strings.Contains(page, "A queue has more failing events than one change reads") || strings.Contains(page, "All that match are taken") {
		t.Errorf("the form is\n%s", page)
	}
	form := b.form(page, "events/cancel")
	form.Set("reason", "a test")
	if page := b.ended(b.send("/events/cancel", form)); !strings.Contains(page, "<strong>1</strong> event cancelled.") || !strings.Contains(page, "A queue had more failing events than one change reads: do it again for the others.") {
		t.Errorf("the change ended with\n%s", page)
	}
}

// Producers choose the IDs of their events, which need not contain a time. What is emitted after the form was opened
// stays.
func TestEventsAreCancelledWhateverTheirIDs(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	b := browser{t, serving(t, dashboard.Sources{Lives: search.NewLives(db), Changes: recall.New(db)})}
	emit := func(id string) {
		t.Helper()
		if _, err := db.SQL().ExecContext(t.Context(), `INSERT INTO outbox (id, event_type, payload, available_at) VALUES ($1, 'a', '{}', now() + interval '1 day')`, id); err != nil {
			t.Fatal(err)
		}
	}
	emit("0a000000-0000-4000-8000-000000000001")
	emit("f0000000-0000-4000-8000-000000000001")
	page := b.page("/events/cancel?type=a")
	if !strings.Contains(page, "<h1>Cancel 2 events</h1>") {
		t.Fatalf("the form is\n%s", page)
	}
	emit("0a000000-0000-4000-8000-000000000002")
	emit("f0000000-0000-4000-8000-000000000002")
	form := b.form(page, "events/cancel")
	form.Set("reason", "a test")
	if page := b.ended(b.send("/events/cancel", form)); !strings.Contains(page, "<strong>2</strong> events cancelled.") {
		t.Errorf("the change ended with\n%s", page)
	}
	var left string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT string_agg(right(id::text, 1), '') FROM outbox").Scan(&left); err != nil || left != "22" {
		t.Errorf("the events that are left end with %q, %v; want those that came later", left, err)
	}
}

// A file cannot say that failing events are in it as in flight.
func TestWithoutRedisNoFileHasFailingEventsAsInFlight(t *testing.T) {
	t.Parallel()
	s := serving(t, dashboard.Sources{Lives: inFlight{page: lives.Page{QueueFault: "dial tcp 10.0.0.7: refused"}}})
	for _, form := range []string{"csv", "json"} {
		if p := handlertest.WantProblem(t, s.Get("/events/export?as="+form), http.StatusServiceUnavailable); !strings.Contains(p.Detail, "Redis does not say which events are failing") || strings.Contains(p.Detail, "10.0.0.7") {
			t.Errorf("%s: %s", form, p.Detail)
		}
	}
	s = serving(t, dashboard.Sources{Lives: inFlight{}})
	if a := s.Get("/events/export?as=csv"); a.Status != http.StatusOK || !strings.Contains(a.Body, "in flight") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
