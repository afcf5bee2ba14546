package lookup

import (
	"context"
	"errors"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
)

var _ queued.TaskRemover = (*Finder)(nil)

// Remove implements queued.TaskRemover. Remove deletes the task of an event's generation,
// and those of up to maxGenerations generations before.
func (f *Finder) Remove(ctx context.Context, events []domain.Event) ([]bool, error) {
	var asked []*Inquiry
	var of []int
	for i := range events {
		for generation := events[i].Generation; generation >= max(0, events[i].Generation-maxGenerations); generation-- {
			e := domain.Event{ID: events[i].ID, Generation: generation}
			asked, of = append(asked, &Inquiry{Queue: events[i].Queue, TaskID: e.TaskID(), Todo: ClearCompleted}), append(of, i)
		}
	}
	if err := f.Ask(ctx, asked); err != nil {
		return nil, err
	}
	removed := make([]bool, len(events))
	for i := range removed {
		removed[i] = true
	}
	for i, q := range asked {
		if p := q.Presence(); p != queued.TaskUnfinished && p != queued.TaskArchived {
			continue
		}
		gone, err := f.delete(q.Queue, q.TaskID)
		if err != nil {
			return nil, err
		}
		removed[of[i]] = removed[of[i]] && gone
	}
	return removed, nil
}

// delete deletes a task, and also its lock if the task is unique. If the task is running,
// it stays, and delete returns false.
func (f *Finder) delete(queue, taskID string) (gone bool, err error) {
	const doing = "delete a task"
	failed := f.inspector.DeleteTask(queue, taskID)
	if failed == nil {
		return true, nil
	}
	info, err := f.inspector.GetTaskInfo(queue, taskID)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return true, nil
	case err != nil:
		return false, broker.Unavailable(doing, err)
	case info.State == asynq.TaskStateActive:
		return false, nil
	default:
		return false, broker.Unavailable(doing, failed)
	}
}
