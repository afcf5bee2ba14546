package work

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
)

// Outward handles a task with an effect outside the database, such as a mail or a request to another server. While
// an Outward runs, the worker holds no transaction and no database connection for it. Its effect happens at least
// once: Outward may be called again for the same event after an error, or if the worker stopped or died before its
// Record was committed. If the database cannot be reached, the worker tries again to commit the Record, until the
// worker stops. An error with domain.CodeInvalid makes the event a dead letter without a retry.
type Outward func(ctx context.Context, task Task) (Record, error)

// Record writes the result of an Outward, in the transaction that confirms the
// event. nil: there is nothing to write.
type Record func(ctx context.Context, tx domain.Effects) error

// Postponed is the error of a task that did not succeed for a reason outside the task, such as a receiver that
// is down. It costs no attempt, not even the last one.
type Postponed struct {
	Err   error
	Delay time.Duration // until the next attempt
	Tried bool          // there was an attempt, which is recorded in the journal
}

func (p *Postponed) Error() string { return p.Err.Error() }

// Unwrap returns the reason.
func (p *Postponed) Unwrap() error { return p.Err }

func isPostponed(err error) (*Postponed, bool) { return errors.AsType[*Postponed](err) }

// recordPatience limits the time of one question to the inbox, and of one attempt to confirm an event. A database
// connection that hangs therefore delays other tasks only for this time.
const recordPatience = 30 * time.Second

// outward asks the inbox whether the event may take effect, calls the handler without a transaction, and confirms
// the event. If the task's timeout is reached before the confirmation has succeeded, the task goes back to its
// queue and the confirmation continues. The next task of the event waits here for the end of that confirmation.
func (w *Worker) outward(ctx, running context.Context, together *groups, out Outward, task Task) (first bool, err error) {
	leave, err := w.outside.enter(ctx, task.EventID)
	if err != nil {
		return false, fmt.Errorf("%w: another task of the event is under way", errAway)
	}
	confirming := false
	defer func() {
		if !confirming {
			leave()
		}
	}()
	ask := func() (bool, error) {
		attempt, done := context.WithTimeout(ctx, recordPatience)
		defer done()
		return together.Ask(attempt, task)
	}
	if first, err = w.whenUsable(ctx, running, ask); err != nil || !first {
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
	confirming = true
	ended := make(chan confirmation, 1)
	w.records.run(func() {
		defer leave()
		first, err := w.record(context.WithoutCancel(ctx), running, together, task, record)
		ended <- confirmation{first, err}
	})
	select {
	case r := <-ended:
		return r.first, r.err
	case <-ctx.Done():
		return true, fmt.Errorf("%w: the effect has happened, and is confirmed as soon as that is possible", errAway)
	}
}

// records has the running confirmations of events whose effect outside the database has happened. When the worker
// stops, it waits for the confirmations that have already begun. records is safe for concurrent use.
type records struct {
	mu     sync.Mutex
	all    sync.WaitGroup
	closed bool
}

func (r *records) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
}

func (r *records) run(record func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		go record()
		return
	}
	r.all.Go(record)
}

func (r *records) wait() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.all.Wait()
}

type confirmation struct {
	first bool
	err   error
}

// record confirms an event whose effect outside the database has happened. It waits for the database without a
// limit. When the worker stops, it has as much time as running tasks (Options.Drain).
func (w *Worker) record(ctx, running context.Context, together *groups, task Task, record Record) (first bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, func() {
		limit := time.NewTimer(w.o.Drain)
		defer limit.Stop()
		select {
		case <-limit.C:
			cancel()
		case <-ctx.Done():
		}
	})()
	for {
		attempt, done := context.WithTimeout(ctx, recordPatience)
		first, err = together.Confirm(attempt, task, record)
		done()
		// This transaction only writes the confirmation and the Record. So it can be repeated after an outage.
		// After the end of ctx the error may be that of ctx, and says nothing about the task.
		if domain.ErrorCode(err) != domain.CodeUnavailable && (err == nil || ctx.Err() == nil) {
			return first, err
		}
		w.outage.Do(func() {
			w.log.Warn("an effect has happened and cannot be confirmed, because the database cannot be reached", "event_id", task.EventID, "error", err)
		})
		if !pauseFor(ctx, inboxPause) {
			w.log.Warn("an effect has happened and is not confirmed, because the worker stopped while the database could not be reached; the effect may happen again", "event_id", task.EventID)
			return first, fmt.Errorf("%w: the effect has happened and is not confirmed", errStopping)
		}
	}
}

// pauseFor waits for d. It returns false if ctx ends before.
func pauseFor(ctx context.Context, d time.Duration) bool {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// outside has the events for which an Outward or its confirmation is running. After a loss in Redis an event may
// get a second task while the first still runs; the second waits for the first.
type outside struct {
	mu  sync.Mutex
	ids map[domain.ID]chan struct{}
}

// enter is called before an Outward runs, and waits until this Worker runs no other task of the same event.
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
