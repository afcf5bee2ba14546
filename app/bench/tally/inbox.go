package tally

import (
	"context"

	"outboxd/domain"
)

// Inbox returns an inbox that does the same as inbox, and counts the commits and the events in them.
func (t *Tally) Inbox(inbox domain.Inbox) domain.Inbox { return tallied{inbox, t} }

// tallied wraps an inbox and counts the inbox's commits.
type tallied struct {
	domain.Inbox
	t *Tally
}

// Process implements domain.Inbox.
func (i tallied) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	if first, err = i.Inbox.Process(ctx, id, effect); first && err == nil {
		i.t.commits.Add(1)
		i.t.Add(1)
	}
	return first, err
}

// ProcessAll implements domain.Inbox.
func (i tallied) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	var took int64
	list, err := i.Inbox.ProcessAll(ctx, ids, func(ctx context.Context, tx domain.Effects, first []domain.ID) error {
		took = int64(len(first))
		return effect(ctx, counted{tx, &took}, first)
	})
	if err != nil {
		return nil, err
	}
	i.t.commits.Add(1)
	i.t.Add(took)
	return list, nil
}

// counted also counts the followers: later events of the same ordering keys that
// take effect in the same transaction.
type counted struct {
	domain.Effects
	took *int64
}

// Follow implements domain.Followers.
func (c counted) Follow(ctx context.Context, owners []domain.ID, eventType, queue string, most int) ([]domain.Follower, error) {
	with, able := c.Effects.(domain.Followers)
	if !able {
		return nil, nil
	}
	list, err := with.Follow(ctx, owners, eventType, queue, most)
	*c.took += int64(len(list))
	return list, err
}
