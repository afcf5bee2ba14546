package failing

import (
	"cmp"
	"context"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

const (
	// listed bounds the failing tasks of one queue that one search or change reads.
	listed = lives.FailingListed
	// atOnce is how many events one query of the database names.
	atOnce = 200
)

// Lives reads single events from the database, and finds out from Redis which of those in flight are failing. The
// database alone cannot distinguish StateFailing from StateInFlight.
type Lives struct {
	lives.Reader
	// Tasks is nil if the process has no Redis. Failing events are then listed as in flight.
	Tasks queued.FailingTasks
	// NoHistory is true if the database keeps no events that are in flight. A failing event is then built from its
	// task in Redis alone.
	NoHistory bool
	// When Patience is over, a search reads no further page, and looks at no further failing tasks.
	Patience time.Duration
}

var _ lives.Reader = Lives{}

// Search implements lives.Reader. If Redis does not answer, failing events are listed as in flight. A search for
// failing events then returns the error of Redis, and so does a search that leaves out events in flight, but not
// failing ones.
func (l Lives) Search(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (lives.Page, error) {
	fails := filter.Finds(lives.StateFailing)
	switch {
	case filter.State == lives.StateFailing && fails:
		return l.failing(ctx, filter, before, limit)
	case !fails && !filter.Finds(lives.StateInFlight):
		return l.Reader.Search(ctx, filter, before, limit)
	}
	// If all events of a page are left out, read the next page: an empty page would look as if no event matched.
	for began, examined := time.Now(), 0; ; {
		page, err := l.searchMarked(ctx, filter, before, limit)
		page.Examined, examined = page.Examined+examined, page.Examined+examined
		if err != nil || len(page.Events) > 0 || page.GaveUp || page.Next.IsZero() {
			return page, err
		}
		if time.Since(began) > l.Patience {
			page.GaveUp = true
			return page, nil
		}
		before = page.Next
	}
}

// searchMarked reads a page from the database, and finds out from Redis which events in flight are failing. It then
// leaves out the events that the filter does not choose.
func (l Lives) searchMarked(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (lives.Page, error) {
	page, err := l.Reader.Search(ctx, filter, before, limit)
	if err != nil {
		return page, err
	}
	flies := filter.Finds(lives.StateInFlight)
	if err := l.mark(ctx, page.Events); err != nil {
		if !flies {
			return page, err
		}
		page.QueueFault = err.Error()
	}
	page.Events = slices.DeleteFunc(page.Events, func(e lives.Summary) bool {
		return e.State == lives.StateFailing && drops(&filter, &e) || e.State == lives.StateInFlight && !flies
	})
	return page, nil
}

// Count implements lives.Reader. If Redis does not answer, failing events count as in flight. A count of failing
// events then returns the error of Redis, and so does a count that leaves out events in flight, but not failing ones.
func (l Lives) Count(ctx context.Context, filter lives.Filter, limit int, patience time.Duration) (lives.Counted, error) {
	flies, fails := filter.Finds(lives.StateInFlight), filter.Finds(lives.StateFailing)
	if fails && !flies {
		return l.countWithoutInFlight(ctx, filter, limit, patience)
	}
	counted, err := l.Reader.Count(ctx, filter, limit, patience)
	if err != nil || l.NoHistory || !flies || fails && len(filter.NotErrors) == 0 {
		return counted, err
	}
	// The database counts events in flight that Search leaves out, because they are failing.
	among := filter
	among.State, among.NotStates, among.Error, among.NotErrors = lives.StateFailing, nil, "", nil
	dropped, err := l.countFailing(ctx, among, listed, patience, func(e *lives.Summary) bool { return drops(&filter, e) })
	switch {
	case err != nil:
		counted.QueueFault = err.Error() // Search then lists failing events as in flight
	case !dropped.All:
		return lives.Counted{}, nil
	case int(counted.Events) == limit && dropped.Events > 0:
		return lives.Counted{Events: max(counted.Events-dropped.Events, 0)}, nil
	default:
		counted.Events = max(counted.Events-dropped.Events, 0)
	}
	return counted, nil
}

// countWithoutInFlight counts the failing events from their tasks, and the database counts those of the other states.
func (l Lives) countWithoutInFlight(ctx context.Context, filter lives.Filter, limit int, patience time.Duration) (lives.Counted, error) {
	counted, err := l.countFailing(ctx, filter, limit, patience, func(*lives.Summary) bool { return true })
	left := limit - int(counted.Events)
	if err != nil || filter.State != "" || left == 0 {
		return counted, err
	}
	others := filter
	others.NotStates = append(slices.Clip(filter.NotStates), lives.StateFailing)
	rest, err := l.Reader.Count(ctx, others, left, patience)
	return lives.Counted{Events: counted.Events + rest.Events, All: counted.All && rest.All, Incomplete: counted.Incomplete}, err
}

// countFailing counts those failing events that match the filter and for which the function wanted returns true. It
// counts up to limit, for about the given time.
func (l Lives) countFailing(ctx context.Context, filter lives.Filter, limit int, patience time.Duration, wanted func(*lives.Summary) bool) (counted lives.Counted, err error) {
	if l.Tasks == nil {
		return counted, errNoQueue()
	}
	began, stopped := time.Now(), false
	tasks, more, err := l.Tasks.All(ctx, listed)
	if err != nil {
		return counted, err
	}
	for some := range slices.Chunk(within(tasks, filter, domain.ID{}), atOnce) {
		if stopped {
			return counted, nil
		}
		found, err := l.look(ctx, filter, some)
		if err != nil {
			return counted, err
		}
		for i := range found {
			if wanted(&found[i]) {
				counted.Events++
			}
		}
		if counted.Events >= int64(limit) {
			return lives.Counted{Events: int64(limit), All: true}, nil
		}
		stopped = time.Since(began) > patience
	}
	counted.All, counted.Incomplete = !more, more
	return counted, nil
}

// drops reports whether Search leaves out a failing event, although the database found it in flight.
func drops(filter *lives.Filter, failing *lives.Summary) bool {
	return !filter.Finds(lives.StateFailing) || !filter.ErrorMatches(failing.Error, failing.Type)
}

// mark looks up the tasks of the events in flight, and sets StateFailing where the task is failing.
func (l Lives) mark(ctx context.Context, events []lives.Summary) error {
	var asked []queued.TaskRef
	for i := range events {
		if events[i].State == lives.StateInFlight {
			asked = append(asked, taskOf(&events[i]))
		}
	}
	switch {
	case len(asked) == 0:
		return nil
	case l.Tasks == nil:
		return errNoQueue()
	}
	found, err := l.Tasks.Failing(ctx, asked)
	for i := range events {
		if task, failing := found[taskOf(&events[i]).TaskID]; failing && events[i].State == lives.StateInFlight {
			set(&events[i], task)
		}
	}
	return err
}

func errNoQueue() error {
	return domain.Errorf(domain.CodeUnavailable, "no Redis is named, which alone knows what fails: name it with --redis-url")
}

func taskOf(e *lives.Summary) queued.TaskRef {
	event := domain.Event{ID: e.ID, Generation: e.Generation}
	return queued.TaskRef{Queue: e.Queue, TaskID: event.TaskID()}
}

func set(e *lives.Summary, task queued.FailingTask) {
	e.State, e.Failing, e.Attempts, e.Error = lives.StateFailing, &task, task.Failed, task.Error
	if !task.FailedAt.IsZero() {
		e.Since = task.FailedAt
	}
}

// named is a failing task with the ID of its event.
type named struct {
	id   domain.ID
	task queued.TaskRef
}

// failing searches the failing tasks for matching events, newest event first.
func (l Lives) failing(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (page lives.Page, err error) {
	if l.Tasks == nil {
		return page, errNoQueue()
	}
	began := time.Now()
	tasks, more, err := l.Tasks.All(ctx, listed)
	if err != nil {
		return page, err
	}
	page.Incomplete = more
	for events := within(tasks, filter, before); len(events) > page.Examined; {
		some := events[page.Examined:min(page.Examined+atOnce, len(events))]
		found, err := l.look(ctx, filter, some)
		if err != nil {
			return page, err
		}
		page.Events, page.Examined = append(page.Events, found...), page.Examined+len(some)
		switch {
		case len(page.Events) >= limit:
			page.Events = page.Events[:limit]
			page.Next = page.Events[limit-1].ID
			return page, nil
		case page.Examined < len(events) && time.Since(began) > l.Patience:
			page.Next, page.GaveUp = some[len(some)-1].id, true
			return page, nil
		}
	}
	return page, nil
}

// within returns the events of the given failing tasks, newest first. It keeps events whose IDs come before the given
// one and that match the filter's queue, ID and times.
func within(tasks []queued.TaskRef, filter lives.Filter, before domain.ID) (events []named) {
	for _, task := range tasks {
		id, _, err := domain.ParseTaskID(task.TaskID)
		at, timed := id.Time()
		switch {
		case err != nil, !lives.Names(filter.Queue, task.Queue), !filter.ID.IsZero() && id != filter.ID:
		case !before.IsZero() && string(id[:]) >= string(before[:]):
		case !filter.Since.IsZero() && (!timed || at.Before(filter.Since)), !filter.Until.IsZero() && (!timed || !at.Before(filter.Until)):
		default:
			events = append(events, named{id, task})
		}
	}
	slices.SortFunc(events, func(a, b named) int { return cmp.Compare(string(b.id[:]), string(a.id[:])) })
	return events
}

// look returns those of the given events that match the filter and whose tasks still fail.
func (l Lives) look(ctx context.Context, filter lives.Filter, events []named) (found []lives.Summary, err error) {
	refs := make([]queued.TaskRef, len(events))
	ids := make([]domain.ID, len(events))
	for i, e := range events {
		refs[i], ids[i] = e.task, e.id
	}
	tasks, err := l.Tasks.Failing(ctx, refs)
	if err != nil {
		return nil, err
	}
	known, err := l.InFlight(ctx, filter, ids)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		task, failing := tasks[e.task.TaskID]
		at := slices.IndexFunc(known, func(k lives.Summary) bool { return taskOf(&k) == e.task })
		switch {
		case !failing || !lives.Names(filter.Type, task.Type) || !filter.ErrorMatches(task.Error, task.Type):
		case at >= 0 && !filter.EmittedBefore.IsZero() && !known[at].CreatedAt.Before(filter.EmittedBefore):
		case at >= 0:
			set(&known[at], task)
			found = append(found, known[at])
		case l.NoHistory && !filter.AsksDatabase():
			made, _ := e.id.Time()
			summary := lives.Summary{ID: e.id, Type: task.Type, Queue: task.Queue, CreatedAt: made, Since: made}
			set(&summary, task)
			found = append(found, summary)
		}
	}
	return found, nil
}
