package failing

import (
	"context"
	"errors"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// Filter chooses failing tasks that match every field that is not zero. The fields ID, State, NotStates, Open, Since
// and Until of the embedded filter have no effect.
type Filter struct {
	lives.Filter
	IDs       []domain.ID
	ErrorForm string // as queued.ErrorForm returns it
	NoError   bool   // only tasks whose error is empty
	// AsOf leaves out tasks that failed later, and tasks that failed again later; zero: none. Asynq stores the time of a
	// failure in whole seconds. A task without that time is not left out.
	AsOf time.Time
}

// Narrows reports whether the filter has a condition that may leave a task out; see domain.DeadFilter.Narrows.
func (f *Filter) Narrows() bool {
	return len(f.IDs) > 0 || f.Filter.Narrows() || f.ErrorForm != "" || f.NoError
}

func (f *Filter) matches(t *queued.FailingTask) bool {
	return lives.Names(f.Type, t.Type) && lives.Names(f.Queue, t.Queue) && f.ErrorMatches(t.Error, t.Type) &&
		(f.ErrorForm == "" || queued.ErrorForm(t.Error) == f.ErrorForm) && (!f.NoError || t.Error == "") && (f.AsOf.IsZero() || !t.FailedAt.After(f.AsOf))
}

// Change lets Asynq retry failing tasks now, or gives the tasks up.
type Change struct {
	Tasks queued.FailingTasks
	// Known returns those of the given IDs that are events of this database. Change does not touch tasks of other
	// IDs, because other programs may use the same Redis.
	Known func(ctx context.Context, ids []domain.ID) ([]domain.ID, error)
	// InFlight is lives.Reader.InFlight. Change calls it if AsksDatabase of the filter returns true.
	InFlight func(ctx context.Context, filter lives.Filter, ids []domain.ID) ([]lives.Summary, error)
	// Archived and Failures make dead letters of the events whose tasks were given up.
	Archived queued.ArchivedTasks
	Failures domain.FailedTasks
	Actions  domain.ActionRecords
	// Outcomes counts retried events by their state, as domain.DeadLetters does for replayed ones.
	Outcomes func(ctx context.Context, events []domain.Replayed, unconfirmed []string) (domain.ReplayOutcomes, error)
}

// Result counts the tasks that a change has matched and changed so far.
type Result struct {
	Matched, Changed int64
	// Queues has the queues of the matched tasks, by name.
	Queues []domain.QueueCount
	// Meanwhile counts the matched tasks that a retry left out; see replay.Progress.
	Meanwhile int64
	// More says that a queue has more failing tasks than one change reads, so matching tasks may have been missed.
	More bool
	// Stopped says that a count ended early, so there may be more than Matched.
	Stopped bool
}

// match counts tasks that were chosen. The tasks of a queue come one after another.
func (r *Result) match(tasks []queued.TaskRef) {
	r.Matched += int64(len(tasks))
	for _, task := range tasks {
		if last := len(r.Queues) - 1; last < 0 || r.Queues[last].Queue != task.Queue {
			r.Queues = append(r.Queues, domain.QueueCount{Queue: task.Queue})
		}
		r.Queues[len(r.Queues)-1].Count++
	}
}

// Count returns how many failing tasks the filter chooses. It counts for about the given time; 0 is no limit.
func (c *Change) Count(ctx context.Context, filter Filter, patience time.Duration) (Result, error) {
	began := time.Now()
	result, err := c.each(ctx, filter, func([]queued.TaskRef) (int64, error) {
		if patience > 0 && time.Since(began) > patience {
			return 0, errStopped
		}
		return 0, nil
	})
	if errors.Is(err, errStopped) {
		result.Stopped, err = true, nil
	}
	return result, err
}

var errStopped = errors.New("the time is over")

// GiveUp archives the chosen tasks and makes dead letters of their events. The leader makes the missing dead letters
// later if the database becomes unreachable meanwhile, or if another transaction is changing an event.
//
// Errors: domain.CodeUnavailable.
func (c *Change) GiveUp(ctx context.Context, action *domain.Action, filter Filter) (Result, error) {
	result, err := c.each(ctx, filter, func(tasks []queued.TaskRef) (int64, error) {
		done, err := c.Tasks.Archive(ctx, tasks)
		for _, task := range done {
			if err != nil {
				break
			}
			err = c.bury(ctx, action, task)
		}
		return int64(len(done)), err
	})
	return result, c.record(ctx, domain.ActionGiveUp, action, result, err)
}

func (c *Change) bury(ctx context.Context, action *domain.Action, task queued.TaskRef) error {
	failed, err := c.Archived.Failure(ctx, task.Queue, task.TaskID)
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return nil // the task was deleted meanwhile, for example because its event may not take effect yet
	} else if err != nil {
		return err
	}
	failed.By = action
	_, err = c.Failures.Bury(ctx, failed, true)
	return err
}

// record records the action, unless the action failed before it changed a task.
func (c *Change) record(ctx context.Context, kind string, action *domain.Action, result Result, err error) error {
	if result.Changed == 0 && err != nil {
		return err
	}
	if failed := c.Actions.Record(ctx, kind, action, result.Changed, err); err == nil {
		err = failed
	}
	return err
}

// each calls the function do with the chosen tasks, batch by batch; a batch may have none. each lists the tasks before
// it changes the first, so a task that fails again meanwhile is not changed twice. each ends with the first error of do.
func (c *Change) each(ctx context.Context, filter Filter, do func([]queued.TaskRef) (int64, error)) (r Result, err error) {
	all, more, err := c.Tasks.All(ctx, listed)
	if err != nil {
		return r, err
	}
	r.More = more
	if len(filter.IDs) > 0 || filter.Queue != "" {
		all = slices.DeleteFunc(all, func(t queued.TaskRef) bool {
			id, _, err := domain.ParseTaskID(t.TaskID)
			return err != nil || !lives.Names(filter.Queue, t.Queue) || len(filter.IDs) > 0 && !slices.Contains(filter.IDs, id)
		})
	}
	for some := range slices.Chunk(all, atOnce) {
		chosen, err := c.chosen(ctx, &filter, some)
		if err != nil {
			return r, err
		}
		r.match(chosen)
		n, err := do(chosen)
		r.Changed += n
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// chosen returns those of the given tasks that still fail, that match the filter, and whose events are in this
// database.
func (c *Change) chosen(ctx context.Context, filter *Filter, some []queued.TaskRef) (chosen []queued.TaskRef, err error) {
	tasks, err := c.Tasks.Failing(ctx, some)
	if err != nil {
		return nil, err
	}
	var ids []domain.ID
	for _, ref := range some {
		task, failing := tasks[ref.TaskID]
		id, _, parsed := domain.ParseTaskID(ref.TaskID)
		if failing && parsed == nil && filter.matches(&task) {
			chosen, ids = append(chosen, ref), append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	known, err := c.known(ctx, filter, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(chosen, func(ref queued.TaskRef) bool {
		id, _, _ := domain.ParseTaskID(ref.TaskID)
		return !slices.Contains(known, id)
	}), nil
}

// known returns those of the given IDs that are events of this database, and meet the filter's conditions on what only
// the database knows.
func (c *Change) known(ctx context.Context, filter *Filter, ids []domain.ID) ([]domain.ID, error) {
	if !filter.AsksDatabase() {
		return c.Known(ctx, ids)
	}
	found, err := c.InFlight(ctx, filter.Filter, ids)
	var known []domain.ID
	for i := range found {
		known = append(known, found[i].ID)
	}
	return known, err
}
