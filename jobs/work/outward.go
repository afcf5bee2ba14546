package work

import (
	"context"
	"errors"
	"sync"
	"time"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
)

// Outward carries out a task whose effect lies outside the database, such as a
// mail or a request to another server. No transaction and no connection is held
// while it runs. Its effect happens at least once: it may be called again for the
// same event if it returned an error, or if the process died before what it
// returned was committed. An error with domain.CodeInvalid makes the event a dead
// letter without a retry.
type Outward func(ctx context.Context, task Task) (Record, error)

// Record is what an Outward has to write down: it runs in the transaction that
// confirms the event. nil: nothing.
type Record func(ctx context.Context, tx domain.Effects) error

// Postponed is the error of a task that could not be carried out for a reason that
// is not its own. It costs none of the attempts.
type Postponed struct {
	Err   error
	Delay time.Duration // until the next attempt
	Tried bool          // there was an attempt, which belongs in the journal
}

func (p *Postponed) Error() string { return p.Err.Error() }

// Unwrap returns the reason.
func (p *Postponed) Unwrap() error { return p.Err }

func isPostponed(err error) (*Postponed, bool) { return errors.AsType[*Postponed](err) }

// recordPatience bounds the confirmation of what was carried out, also where the
// task's own time is over: without it, everything would be done again.
const recordPatience = 30 * time.Second

// outward asks the inbox whether the event is to take effect, carries it out
// without a transaction, and confirms it.
func (w *Worker) outward(ctx, running context.Context, together *groups, out Outward, task Task) (first bool, err error) {
	leave, err := w.outside.enter(ctx, task.EventID)
	if err != nil {
		return false, err
	}
	defer leave()
	if first, err = w.whenUsable(ctx, running, func() (bool, error) { return together.Ask(ctx, task.EventID) }); err != nil || !first {
		return false, err
	}
	crashpoint.Reach(crashpoint.WorkerAsked)
	var record Record
	err = domain.Recovered("the handler panicked", func() (err error) {
		record, err = out(ctx, task)
		return err
	})
	if err != nil {
		return true, err
	}
	crashpoint.Reach(crashpoint.WorkerSent)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	return w.whenUsable(ctx, running, func() (bool, error) { return together.Confirm(ctx, task, record) })
}

// outside has the events that are carried out without a transaction. A second task
// of an event, which Redis has once it lost the first, waits for the first.
type outside struct {
	mu  sync.Mutex
	ids map[domain.ID]chan struct{}
}

// enter waits until no other task of the event is carried out here.
func (o *outside) enter(ctx context.Context, id domain.ID) (leave func(), err error) {
	for {
		o.mu.Lock()
		busy, taken := o.ids[id]
		if !taken {
			if o.ids == nil {
				o.ids = map[domain.ID]chan struct{}{}
			}
			done := make(chan struct{})
			o.ids[id] = done
			o.mu.Unlock()
			return func() {
				o.mu.Lock()
				delete(o.ids, id)
				o.mu.Unlock()
				close(done)
			}, nil
		}
		o.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
