package failing_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// events is a database whose events are all in flight.
type events struct {
	lives.Reader
	ids []domain.ID
}

func (e events) Count(_ context.Context, f lives.Filter, limit int, _ time.Duration) (lives.Counted, error) {
	if !f.Finds(lives.StateInFlight) && !f.Finds(lives.StateFailing) {
		return lives.Counted{All: true}, nil
	}
	return lives.Counted{Events: int64(min(len(e.ids), limit)), All: true}, nil
}

func (e events) InFlight(_ context.Context, _ lives.Filter, ids []domain.ID) (found []lives.Summary, _ error) {
	for _, id := range ids {
		found = append(found, lives.Summary{ID: id, State: lives.StateInFlight, Queue: "q", Type: "a"})
	}
	return found, nil
}

// tasks is a Redis with failing tasks. The field errors has their errors, by task ID.
type tasks struct {
	queued.FailingTasks
	errors map[string]string
	more   bool // there are further tasks, which All leaves out
}

func (f tasks) All(context.Context, int) (refs []queued.TaskRef, more bool, err error) {
	for id := range f.errors {
		refs = append(refs, queued.TaskRef{Queue: "q", TaskID: id})
	}
	return refs, f.more, nil
}

func (f tasks) Failing(_ context.Context, refs []queued.TaskRef) (map[string]queued.FailingTask, error) {
	found := map[string]queued.FailingTask{}
	for _, ref := range refs {
		if text, fails := f.errors[ref.TaskID]; fails {
			found[ref.TaskID] = queued.FailingTask{Type: "a", Error: text}
		}
	}
	return found, nil
}

// A failing event does not count as in flight, and its error is only in Redis.
func TestFailingEventsAreCountedAsTheSearchListsThem(t *testing.T) {
	t.Parallel()
	in, failed := events{}, tasks{errors: map[string]string{}}
	for n := range 10 {
		id := domain.ID{6: 0x70, 8: 0x80, 15: byte(n)}
		in.ids = append(in.ids, id)
		if n < 4 {
			failed.errors[id.String()] = fmt.Sprintf("timeout %d", n%2)
		}
	}
	reader := failing.Lives{Reader: in, Tasks: failed}
	for name, c := range map[string]struct {
		filter lives.Filter
		limit  int
		want   lives.Counted
	}{
		"all":                      {lives.Filter{}, 100, lives.Counted{Events: 10, All: true}},
		"in flight":                {lives.Filter{State: lives.StateInFlight}, 100, lives.Counted{Events: 6, All: true}},
		"in flight, more than ten": {lives.Filter{State: lives.StateInFlight}, 10, lives.Counted{Events: 6}},
		"failing":                  {lives.Filter{State: lives.StateFailing}, 100, lives.Counted{Events: 4, All: true}},
		"failing, up to three":     {lives.Filter{State: lives.StateFailing}, 3, lives.Counted{Events: 3, All: true}},
		"failing with an error":    {lives.Filter{State: lives.StateFailing, Error: "out 1"}, 100, lives.Counted{Events: 2, All: true}},
		"not failing":              {lives.Filter{NotStates: []lives.State{lives.StateFailing}}, 100, lives.Counted{Events: 6, All: true}},
		"not in flight":            {lives.Filter{NotStates: []lives.State{lives.StateInFlight}}, 100, lives.Counted{Events: 4, All: true}},
		"neither":                  {lives.Filter{NotStates: []lives.State{lives.StateInFlight, lives.StateFailing}}, 100, lives.Counted{All: true}},
		"failing and not failing":  {lives.Filter{State: lives.StateFailing, NotStates: []lives.State{lives.StateFailing}}, 100, lives.Counted{All: true}},
		"without an error":         {lives.Filter{NotErrors: []string{"OUT 1"}}, 100, lives.Counted{Events: 8, All: true}},
	} {
		if n, err := reader.Count(t.Context(), c.filter, c.limit, time.Minute); err != nil || n != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, n, err, c.want)
		}
	}
	if _, err := (failing.Lives{Reader: in}).Count(t.Context(), lives.Filter{State: lives.StateFailing}, 1, time.Minute); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("without Redis: %v", err)
	}
}
