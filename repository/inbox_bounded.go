package repository

import (
	"context"
	"fmt"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// BoundedInbox is an inbox that uses at most a fixed number of connections at the same
// time. A worker may run more tasks than that. Their calls then wait here, in order, and
// not in the pool, where relay, leader and health checks would wait behind them.
type BoundedInbox struct {
	inbox  domain.Inbox
	places chan struct{}
}

// NewBoundedInbox returns the inbox of db with at most conns connections.
func NewBoundedInbox(db *postgres.Database, conns int) *BoundedInbox {
	return &BoundedInbox{inbox: NewInbox(db), places: make(chan struct{}, max(conns, 1))}
}

var _ domain.Inbox = (*BoundedInbox)(nil)

// enter waits for a place. Its error is the one that a full pool would cause.
func (b *BoundedInbox) enter(ctx context.Context, doing string) error {
	select {
	case b.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return postgres.TranslateWork(fmt.Errorf("wait for a connection: %w", ctx.Err()), doing)
	}
}

func (b *BoundedInbox) leave() { <-b.places }

// Process implements domain.Inbox.
func (b *BoundedInbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	if err := b.enter(ctx, "process an event"); err != nil {
		return false, err
	}
	defer b.leave()
	return b.inbox.Process(ctx, id, effect)
}

// Ask implements domain.Inbox.
func (b *BoundedInbox) Ask(ctx context.Context, id domain.ID) (bool, error) {
	if err := b.enter(ctx, "ask whether an event took effect"); err != nil {
		return false, err
	}
	defer b.leave()
	return b.inbox.Ask(ctx, id)
}

// ProcessAll implements domain.Inbox.
func (b *BoundedInbox) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	if err := b.enter(ctx, "process events"); err != nil {
		return nil, err
	}
	defer b.leave()
	return b.inbox.ProcessAll(ctx, ids, effect)
}

// AskAll implements domain.Inbox.
func (b *BoundedInbox) AskAll(ctx context.Context, ids []domain.ID) ([]domain.Confirmation, error) {
	if err := b.enter(ctx, "ask whether events took effect"); err != nil {
		return nil, err
	}
	defer b.leave()
	return b.inbox.AskAll(ctx, ids)
}
