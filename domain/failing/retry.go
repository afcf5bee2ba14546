package failing

import (
	"context"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/replay"
)

// Retry makes the chosen tasks due now, as carefully as pace says, and calls tell after each step. It charges no
// attempt. Consumers that confirm nothing leave the canary undecided.
//
// Errors: domain.CodeUnavailable; those of ctx; a *domain.Stopped if the canary did not succeed.
func (c *Change) Retry(ctx context.Context, action *domain.Action, filter Filter, pace replay.Pace, tell func(replay.Progress)) (Result, error) {
	var tasks []queued.TaskRef
	result, err := c.each(ctx, filter, func(some []queued.TaskRef) (int64, error) {
		tasks = append(tasks, some...)
		return 0, nil
	})
	r := retry{c: c, action: action, filter: filter, pace: pace, tell: tell}
	if err == nil {
		err = r.run(ctx, tasks)
	}
	result.Changed = r.progress.Changed
	return result, c.record(ctx, domain.ActionRetry, action, result, err)
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
	if n := min(r.pace.Canary, len(tasks)); n > 0 {
		if err := r.canary(ctx, tasks[:n]); err != nil {
			return err
		}
		tasks = tasks[n:]
	}
	var began time.Time
	batch := r.pace.Batch(atOnce)
	for some := range slices.Chunk(tasks, batch) {
		if err := r.pace.Wait(ctx, began, batch); err != nil {
			return err
		}
		began = time.Now()
		// With a rate, tasks may have failed again since they were chosen, with another error.
		chosen, err := r.c.chosen(ctx, &r.filter, some)
		if err == nil {
			_, err = r.send(ctx, chosen)
		}
		if err != nil {
			return err
		}
		r.tell(r.progress)
	}
	return nil
}

// send makes tasks due now, enters that into the journal, and returns the tasks that were still failing.
func (r *retry) send(ctx context.Context, tasks []queued.TaskRef) ([]domain.Replayed, error) {
	done, err := r.c.Tasks.Retry(ctx, tasks)
	r.progress.Changed += int64(len(done))
	sent := make([]domain.Replayed, 0, len(done))
	events := make([]domain.Event, 0, len(done))
	for _, task := range done {
		if id, generation, err := domain.ParseTaskID(task.TaskID); err == nil {
			sent, events = append(sent, domain.Replayed{ID: id, Generation: generation}), append(events, domain.Event{ID: id, Generation: generation})
		}
	}
	if len(events) > 0 {
		if noted := r.c.Failures.Retried(ctx, events, r.action); err == nil {
			err = noted
		}
	}
	return sent, err
}

// canary retries tasks and waits until the effects of all of them are confirmed. Any other outcome is an error.
func (r *retry) canary(ctx context.Context, tasks []queued.TaskRef) error {
	before, err := r.c.Tasks.Failing(ctx, tasks)
	if err != nil {
		return err
	}
	sent, err := r.send(ctx, tasks)
	if err != nil || len(sent) == 0 {
		return err
	}
	look := func(ctx context.Context) (canary replay.CanaryOutcome, err error) {
		outcomes, err := r.c.Outcomes(ctx, sent, nil)
		if err != nil {
			return canary, err
		}
		now, err := r.c.Tasks.Failing(ctx, tasks)
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
