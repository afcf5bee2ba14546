package failing

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/replay"
)

// Retry makes the chosen tasks due now, as carefully as the pace says, and calls the function tell after each step.
// It charges no attempt. Consumers that confirm nothing leave the canary undecided.
//
// Errors: domain.CodeUnavailable; those of ctx; a *domain.Stopped if the canary did not succeed.
func (c *Change) Retry(ctx context.Context, action *domain.Action, filter Filter, pace replay.Pace, tell func(replay.Progress)) (Result, error) {
	var tasks []queued.TaskRef
	kinds := map[string]string{} // of the tasks, by task ID
	result, err := c.each(ctx, filter, func(some []queued.TaskRef) (int64, error) {
		tasks = append(tasks, some...)
		if pace.Canary == 0 {
			return 0, nil
		}
		found, err := c.Tasks.Failing(ctx, some)
		for id, task := range found {
			kinds[id] = task.Type + "\n" + queued.ErrorForm(task.Error)
		}
		return 0, err
	})
	if pace.Canary > 0 {
		spread(tasks, kinds)
	}
	r := retry{c: c, action: action, filter: filter, pace: pace, tell: tell}
	if err == nil {
		err = r.run(ctx, tasks)
	}
	result.Changed, result.Meanwhile = r.progress.Changed, r.progress.Meanwhile
	return result, c.record(ctx, domain.ActionRetry, action, result, err)
}

// spread puts a task of each kind first, then a second task of each, and so on, so that the canary has tasks of many
// kinds. The kind with the most tasks comes first. The tasks of a kind stay in their order.
func spread(tasks []queued.TaskRef, kinds map[string]string) {
	sizes, turns := map[string]int{}, map[string]int{}
	for _, task := range tasks {
		kind := kinds[task.TaskID]
		turns[task.TaskID] = sizes[kind]
		sizes[kind]++
	}
	slices.SortStableFunc(tasks, func(a, b queued.TaskRef) int {
		return cmp.Or(cmp.Compare(turns[a.TaskID], turns[b.TaskID]), cmp.Compare(sizes[kinds[b.TaskID]], sizes[kinds[a.TaskID]]))
	})
}

// retry is one execution of Change.Retry.
type retry struct {
	c        *Change
	action   *domain.Action
	filter   Filter
	pace     replay.Pace
	tell     func(replay.Progress)
	progress replay.Progress
}

func (r *retry) run(ctx context.Context, tasks []queued.TaskRef) error {
	if r.pace.Canary > 0 {
		rest, err := r.canary(ctx, tasks)
		if err != nil {
			return err
		}
		tasks = rest
	}
	var began time.Time
	batch := r.pace.Batch(atOnce)
	for some := range slices.Chunk(tasks, batch) {
		if err := r.pace.Wait(ctx, began, batch); err != nil {
			return err
		}
		began = time.Now()
		if _, err := r.send(ctx, some); err != nil {
			return err
		}
		r.tell(r.progress)
	}
	return nil
}

// send makes the tasks that the filter still chooses due now, enters that into the journal, and returns these tasks.
// The others no longer wait or failed with another error, mostly because workers tried them after they were listed.
func (r *retry) send(ctx context.Context, tasks []queued.TaskRef) ([]queued.TaskRef, error) {
	chosen, err := r.c.chosen(ctx, &r.filter, tasks)
	if err != nil {
		return nil, err
	}
	done, err := r.c.Tasks.Retry(ctx, chosen)
	r.progress.Changed += int64(len(done))
	if err == nil {
		r.progress.Meanwhile += int64(len(tasks) - len(done))
	}
	events := make([]domain.Event, 0, len(done))
	for _, e := range retried(done) {
		events = append(events, domain.Event{ID: e.ID, Generation: e.Generation})
	}
	if len(events) > 0 {
		if noted := r.c.Failures.Retried(ctx, events, r.action); err == nil {
			err = noted
		}
	}
	return done, err
}

// retried returns the events of tasks.
func retried(tasks []queued.TaskRef) []domain.Replayed {
	events := make([]domain.Replayed, 0, len(tasks))
	for _, task := range tasks {
		if id, generation, err := domain.ParseTaskID(task.TaskID); err == nil {
			events = append(events, domain.Replayed{ID: id, Generation: generation})
		}
	}
	return events
}

// canary retries tasks until it has retried as many as the pace says, or none is left. It waits until the effects of
// all of them are confirmed, and returns the tasks that are left. Any other outcome is an error.
func (r *retry) canary(ctx context.Context, tasks []queued.TaskRef) (rest []queued.TaskRef, err error) {
	var sent []queued.TaskRef
	before := map[string]queued.FailingTask{}
	for len(tasks) > 0 && len(sent) < r.pace.Canary {
		some := tasks[:min(r.pace.Canary-len(sent), len(tasks))]
		tasks = tasks[len(some):]
		now, err := r.c.Tasks.Failing(ctx, some)
		if err != nil {
			return nil, err
		}
		maps.Copy(before, now)
		done, err := r.send(ctx, some)
		if err != nil {
			return nil, err
		}
		sent = append(sent, done...)
	}
	if len(sent) == 0 {
		r.tell(r.progress)
		return nil, nil
	}
	return tasks, r.watch(ctx, sent, before)
}

// watch waits until the effects of all events of the canary are confirmed. The parameter before has the canary's
// tasks as they were before they were retried.
func (r *retry) watch(ctx context.Context, sent []queued.TaskRef, before map[string]queued.FailingTask) error {
	events := retried(sent)
	look := func(ctx context.Context) (canary replay.CanaryOutcome, err error) {
		outcomes, err := r.c.Outcomes(ctx, events, nil)
		if err != nil {
			return canary, err
		}
		now, err := r.c.Tasks.Failing(ctx, sent)
		canary = replay.CanaryOutcome{Sent: len(sent), Failed: outcomes.Dead}
		for id, task := range now {
			if task.Failed > before[id].Failed {
				canary.Failed++
			}
		}
		canary.Confirmed = outcomes.Confirmed
		canary.Open = max(canary.Sent-canary.Confirmed-canary.Failed, 0)
		return canary, err
	}
	return r.pace.Watch(ctx, "failing events", len(sent), look, func(canary replay.CanaryOutcome) {
		r.progress.Canary = &canary
		r.tell(r.progress)
	})
}
