package lead

import (
	"context"
	"errors"
	"slices"
	"time"

	"outboxd/domain"
)

const (
	// removeAtOnce is how many events one request to Redis covers.
	removeAtOnce = 500
	// removePatience limits the time of one round of deletions, so that the leader can do its other work. The next
	// round continues where this one ended.
	removePatience = 5 * time.Second
)

// removal remembers the event ID at which the last round of deletions ended.
type removal struct{ after domain.ID }

// removeTasks deletes the tasks of cancelled events, and the void tasks of events that were rescheduled, erased or
// discarded: such a task still contains the payload. A task that is running is left for a later round. The database
// refuses to confirm it if its event was cancelled, or was moved to a time that has not come yet.
func (l *Leader) removeTasks(ctx context.Context) {
	if l.duties.Cancelled == nil || !l.chores.Remove {
		return
	}
	house := l.duties.Housekeeping
	cancelled, err := l.remove(ctx, &l.cancelled, house.CancelledTasks, house.TasksRemoved)
	void, failed := l.remove(ctx, &l.void, house.VoidTasks, house.VoidTasksRemoved)
	err = errors.Join(err, failed)
	l.failing.note(ctx, dutyCancelled, err)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not delete the tasks of events that were taken back", "retry_in", keysEvery, "error", err)
	}
	if cancelled+void > 0 {
		l.log.Info("deleted the tasks of events that were taken back", "cancelled", cancelled, "rescheduled_erased_or_discarded", void)
	}
}

func (l *Leader) remove(ctx context.Context, r *removal, list func(context.Context, domain.ID, int) ([]domain.Event, error),
	removed func(context.Context, []domain.Event) error,
) (n int, err error) {
	for begun := time.Now(); time.Since(begun) < removePatience; {
		events, err := list(ctx, r.after, removeAtOnce)
		if err != nil {
			return n, err
		}
		if len(events) == 0 {
			r.after = domain.ID{} // tasks that were running are met again
			return n, nil
		}
		last := events[len(events)-1].ID
		gone, err := l.removeUsable(ctx, events)
		if err != nil {
			return n, err
		}
		if err := removed(ctx, gone); err != nil {
			return n, err
		}
		r.after = last
		n += len(gone)
	}
	return n, nil
}

// removeUsable deletes tasks and returns the events that have no task left. removeUsable skips queues that cannot
// be used, so that the other queues do not wait for them.
func (l *Leader) removeUsable(ctx context.Context, events []domain.Event) (gone []domain.Event, err error) {
	removed, err := l.duties.Cancelled.Remove(ctx, events)
	for forbidden := domain.UnusableQueues(err); len(forbidden) > 0; forbidden = domain.UnusableQueues(err) {
		left := slices.DeleteFunc(events, func(e domain.Event) bool { return slices.Contains(forbidden, e.Queue) })
		if len(left) == len(events) {
			return nil, err
		}
		events = left
		removed, err = l.duties.Cancelled.Remove(ctx, events)
	}
	if err != nil {
		return nil, err
	}
	for i := range events {
		if removed[i] {
			gone = append(gone, events[i])
		}
	}
	return gone, nil
}
