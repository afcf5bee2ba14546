package consumer

import (
	"context"
	"fmt"

	"outboxd/client"
)

// transaction is one try to run a batch in one transaction.
type transaction[T, Tx any] struct {
	*batching[T, Tx]
	most int // followers, at most

	began     bool // the handler was called
	followers int  // that the handler got
	// answers are those of the tasks, after the commit. A task whose event gets no answer
	// runs alone: the event may not take effect yet.
	answers map[client.ID]answer
}

// run carries out the tasks of a batch, whose events are different ones. After the event
// that has the turn of an ordering key come the key's next events, as many as there is
// room for in the batch. They need neither a task nor a pass of the relay.
func (t *transaction[T, Tx]) run(ctx context.Context, members []*member[T]) error {
	tx, rollback, err := t.c.begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errBegin, err)
	}
	defer rollback()
	if t.each {
		var one int
		if err := t.c.distance.Measure(func() error { return tx.QueryRow(ctx, "SELECT 1").Scan(&one) }); err != nil {
			return fmt.Errorf("measure the round trip: %w", err)
		}
	}
	events := make([]Event, len(members))
	for i, m := range members {
		events[i] = m.event
	}
	confirmed, list, err := t.c.inbox.confirmAll(ctx, tx.QueryRow, events, t.most)
	if err != nil {
		return fmt.Errorf("confirm %d events: %w", len(events), err)
	}
	of := byOwner(list)
	var settled, first, added []Event
	var payloads []T
	for i, is := range confirmed {
		if is != tooSoon {
			settled = append(settled, events[i])
		}
		if is == takesEffect {
			next, more := behind[T](events[i], of[events[i].ID])
			added = append(added, next...)
			first = append(append(first, events[i]), next...)
			payloads = append(append(payloads, members[i].payload), more...)
		}
	}
	if len(first) > 0 {
		t.began, t.followers = true, len(added)
		if err := t.handle(withEvents(ctx, first...), tx.Tx(), payloads); err != nil {
			return err
		}
	}
	if len(added) > 0 {
		if err := t.c.inbox.endRun(ctx, tx.QueryRow, added); err != nil {
			return err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit the effects of %d events: %w", len(first), named(err))
	}
	t.answers = make(map[client.ID]answer, len(settled))
	for i, err := range t.c.inbox.committedAll(ctx, settled) {
		t.answers[settled[i].ID] = answer{err: err}
	}
	return nil
}
