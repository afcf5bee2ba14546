package confirm

import (
	"context"

	"outboxd/domain"
	"outboxd/repository"
)

// BoundedFailures records failed tasks with at most as many connections at the same time as
// its Bound has places, so that a storm of failing tasks leaves connections to others.
type BoundedFailures struct {
	failures domain.FailedTasks
	bound    *repository.Bound
}

// NewBoundedFailures returns the failures within the bound.
func NewBoundedFailures(failures domain.FailedTasks, bound *repository.Bound) *BoundedFailures {
	return &BoundedFailures{failures: failures, bound: bound}
}

var _ domain.FailedTasks = (*BoundedFailures)(nil)

// Failed implements domain.FailedTasks.
func (b *BoundedFailures) Failed(ctx context.Context, task domain.FailedTask) error {
	return b.bound.Within(ctx, "enter a failed attempt into the journal", func() error { return b.failures.Failed(ctx, task) })
}

// Retried implements domain.FailedTasks.
func (b *BoundedFailures) Retried(ctx context.Context, events []domain.Event, by *domain.Action) error {
	return b.bound.Within(ctx, "enter a retry into the journal", func() error { return b.failures.Retried(ctx, events, by) })
}

// Bury implements domain.FailedTasks.
func (b *BoundedFailures) Bury(ctx context.Context, task domain.FailedTask, onRecord bool) (burial domain.Burial, err error) {
	err = b.bound.Within(ctx, "move an event to the dead letters", func() (err error) {
		burial, err = b.failures.Bury(ctx, task, onRecord)
		return err
	})
	return burial, err
}

// Unburied implements domain.FailedTasks.
func (b *BoundedFailures) Unburied(ctx context.Context, ids []domain.ID) (unburied []domain.ID, err error) {
	err = b.bound.Within(ctx, "look for events that were given up", func() (err error) {
		unburied, err = b.failures.Unburied(ctx, ids)
		return err
	})
	return unburied, err
}
