package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client/gather"
	"outboxd/client/outage"
	"outboxd/client/spare"
)

// Options changes how a Consumer works. The zero value is fine.
type Options struct {
	// Schema is the schema of the outbox. If Schema is empty, the first task, and the next one
	// after an error, makes one more query to find it: the outbox on the session's search path, or
	// else the only one that the role may use.
	//
	// For a Consumer of NewRemote, Schema is the schema of the table that
	// CreateInbox makes. If Schema is empty, that table is on the session's search
	// path.
	Schema string
	// PassOthers also runs the handler for tasks of other programs, in a transaction
	// without a confirmation. Such a task may take effect more than once, and the role's
	// own timeouts bound its transaction. Without PassOthers such a task ends with
	// ErrNotAnEvent, and Asynq archives it. Event.ID says which tasks are recognised as
	// another program's.
	PassOthers bool
}

// Consumer makes handlers whose events take effect once, in one database. A Consumer is
// safe for concurrent use.
type Consumer[Tx any] struct {
	db      Database[Tx]
	options Options
	inbox   inbox
	// distance is that of the database. HandleTogether measures it.
	distance gather.Distance
}

// inbox records which events took effect.
type inbox interface {
	// confirm is called before the effect, in the effect's transaction. confirm
	// returns false if the event must not take effect, for example because it took
	// effect before.
	confirm(ctx context.Context, row func(ctx context.Context, query string, arguments ...any) Row, event Event) (first bool, err error)
	// check returns an error if confirm would fail, for example because a right is
	// missing.
	check(ctx context.Context, row func(ctx context.Context, query string, arguments ...any) Row) error
	// committed is called after the commit, even if the event took effect before.
	committed(ctx context.Context, event Event) error

	// confirmAll confirms several different events. The answers are in the order of
	// the events. If the events have the same type and queue, confirmAll may also
	// return up to most followers.
	confirmAll(ctx context.Context, row func(ctx context.Context, query string, arguments ...any) Row, events []Event, most int) ([]confirmation, []follower, error)
	// endRun confirms followers that took effect. It is the last statement before the
	// commit.
	endRun(ctx context.Context, row func(ctx context.Context, query string, arguments ...any) Row, followers []Event) error
	// committedAll does the same as committed for several events, and returns an error or nil for each event.
	committedAll(ctx context.Context, events []Event) []error
}

// New returns a Consumer whose handlers write to the database of the outbox. The
// database role of the Consumer needs the rights of outboxd_consumer.
func New[Tx any](db Database[Tx], options Options) *Consumer[Tx] {
	return &Consumer[Tx]{db: db, options: options, inbox: &origin{schema: schema{given: options.Schema}}}
}

// process calls the function handle in a transaction that confirms the event first, and
// commits if the function returns nil.
//
//   - A transaction that failed because of a conflict or an outdated plan is
//     repeated at once (see mostTries).
//   - If the database cannot be reached before the function is called, the task waits
//     until its time is over, and then goes back to its queue. A task that waits keeps
//     its worker slot.
//   - If the event cannot be confirmed for another reason, the task goes back to
//     its queue at once.
//   - If it is not the event's turn, the task goes back to its queue. On the last
//     attempt process tries again for some seconds instead. If the turn has still
//     not come, the task is removed, and the relay enqueues the event again later.
//
// The last three cost no attempt if asynq.Config.IsFailure is IsFailure, as in Run.
// For the second and the third, notTried says what happens on the last attempt.
func (c *Consumer[Tx]) process(ctx context.Context, task *asynq.Task, handle func(context.Context, Tx) error) error {
	event, err := readEvent(ctx, task)
	if err != nil && (!c.options.PassOthers || !errors.Is(err, ErrNotAnEvent)) {
		return err
	}
	ctx, cancel := spare.Before(withEvents(ctx, event))
	defer cancel()
	for tries, waited := 1, 0; ; {
		err := c.once(ctx, event, handle)
		switch {
		case err == nil:
			return nil
		case isUntried(err) && ctx.Err() != nil:
			return notTried(ctx, event, err)
		case errors.Is(err, ErrTooEarly):
			if err := awaitTurn(ctx, event, waited, err); err != nil {
				return err
			}
			waited++
		case errors.Is(err, ErrUnacknowledged):
			return unlessLast(ctx, event, err)
		case ctx.Err() != nil:
			return err
		case outage.IsFleeting(err) && tries < mostTries:
			tries++
		case !isUntried(err):
			return err
		case !isAway(err) || !pause(ctx, beginPause):
			return notTried(ctx, event, err)
		}
	}
}

func (c *Consumer[Tx]) once(ctx context.Context, event Event, handle func(context.Context, Tx) error) error {
	tx, rollback, err := c.begin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errBegin, err)
	}
	defer rollback()
	first := true
	if !event.ID.IsZero() {
		if first, err = c.inbox.confirm(ctx, tx.QueryRow, event); err != nil {
			return fmt.Errorf("%w %s: %w", errConfirm, event.ID, err)
		}
	}
	if first {
		if err := handle(ctx, tx.Tx()); err != nil {
			return err
		}
	}
	// Commit even if there is no effect, because outboxd.confirm may have written
	// the reason to the journal.
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit the effect of event %s: %w", event.ID, named(err))
	}
	if event.ID.IsZero() {
		return nil
	}
	return c.inbox.committed(ctx, event)
}

// pause waits. pause returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
