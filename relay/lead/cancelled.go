package lead

import (
	"context"
	"errors"
	"slices"

	"outboxd/domain"
)

// removeAtOnce is how many cancelled events are handled at once.
const removeAtOnce = 500

// removeCancelled deletes the tasks of cancelled events. The tasks would have
// no effect, but until they are deleted the events' rows must stay. A task that
// runs now is left for the next round: its handler waits for the cancellation,
// or has nothing to do.
func (l *Leader) removeCancelled(ctx context.Context) {
	if l.duties.Cancelled == nil {
		return
	}
	n, err := l.removeTasks(ctx)
	l.failing.note(ctx, dutyCancelled, err)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not delete the tasks of cancelled events", "retry_in", keysEvery, "error", err)
	}
	if n > 0 {
		l.log.Info("deleted the tasks of cancelled events", "events", n)
	}
}

func (l *Leader) removeTasks(ctx context.Context) (n int, err error) {
	for after := (domain.ID{}); ; {
		events, err := l.duties.Housekeeping.CancelledTasks(ctx, after, removeAtOnce)
		if err != nil || len(events) == 0 {
			return n, err
		}
		after = events[len(events)-1].ID
		removed, err := l.duties.Cancelled.Remove(ctx, events)
		for one, forbidden := errors.AsType[*domain.QueueOutage](err); forbidden; one, forbidden = errors.AsType[*domain.QueueOutage](err) {
			left := slices.DeleteFunc(events, func(e domain.Event) bool { return e.Queue == one.Queue })
			if len(left) == len(events) {
				return n, err
			}
			events = left
			removed, err = l.duties.Cancelled.Remove(ctx, events)
		}
		if err != nil {
			return n, err
		}
		var ids []domain.ID
		for i := range events {
			if removed[i] {
				ids = append(ids, events[i].ID)
			}
		}
		if err := l.duties.Housekeeping.TasksRemoved(ctx, ids); err != nil {
			return n, err
		}
		n += len(ids)
	}
}
