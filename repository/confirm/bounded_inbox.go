package confirm

import (
	"context"

	"outboxd/domain"
	"outboxd/repository"
)

// BoundedInbox is an inbox whose calls hold at most as many connections at the same time as
// its Bound has places. A worker may run more tasks than that.
type BoundedInbox struct {
	inbox domain.Inbox
	bound *repository.Bound
}

// NewBoundedInbox returns the inbox within the bound.
func NewBoundedInbox(inbox domain.Inbox, bound *repository.Bound) *BoundedInbox {
	return &BoundedInbox{inbox: inbox, bound: bound}
}

var _ domain.Inbox = (*BoundedInbox)(nil)

// Process implements domain.Inbox.
func (b *BoundedInbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	err = b.bound.Within(ctx, "process an event", func() (err error) {
		first, err = b.inbox.Process(ctx, id, effect)
		return err
	})
	return first, err
}

// Ask implements domain.Inbox.
func (b *BoundedInbox) Ask(ctx context.Context, id domain.ID) (first bool, err error) {
	err = b.bound.Within(ctx, "ask whether an event took effect", func() (err error) {
		first, err = b.inbox.Ask(ctx, id)
		return err
	})
	return first, err
}

// ProcessAll implements domain.Inbox.
func (b *BoundedInbox) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) (list []domain.Confirmation, err error) {
	err = b.bound.Within(ctx, "process events", func() (err error) {
		list, err = b.inbox.ProcessAll(ctx, ids, effect)
		return err
	})
	return list, err
}

// AskAll implements domain.Inbox.
func (b *BoundedInbox) AskAll(ctx context.Context, ids []domain.ID) (list []domain.Confirmation, err error) {
	err = b.bound.Within(ctx, "ask whether events took effect", func() (err error) {
		list, err = b.inbox.AskAll(ctx, ids)
		return err
	})
	return list, err
}
