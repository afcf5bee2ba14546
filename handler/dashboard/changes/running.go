package changes

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
)

const (
	changesAtOnce = 4
	changesKept   = 100
)

// list has the changes of dead letters and of failing events, and the cancellations of events, that people began on
// these pages. The changes run in the background.
type list struct {
	mu      sync.Mutex
	last    int
	known   map[int]*change
	running sync.WaitGroup
	active  int
	ctx     context.Context //nolint:containedctx // of the changes, which outlast their requests
	wrote   func(context.Context)
	logger  *slog.Logger
}

// change is a change that a visitor confirmed, and its progress.
type change struct {
	ID       int
	Form     forms.Change
	Progress replay.Progress
	Done     bool
	Fault    string // why the change failed; "" if it did not, or is not done
}

// changeWords are the words about one kind of change. Path is the page to which the page of the change leads back.
type changeWords struct{ Verb, Done, One, Path, Title string }

// Words returns the words about the change.
func (c change) Words() changeWords {
	switch c.Form.Action {
	case access.Cancel:
		return changeWords{"Cancel", "cancelled", "event", "events", "Events"}
	case domain.ActionRetry:
		return changeWords{"Retry now", "retried", "failing event", "failing", "Failing"}
	case domain.ActionGiveUp:
		return changeWords{"Give up", "given up", "failing event", "failing", "Failing"}
	case access.Discard:
		return changeWords{"Discard", "discarded", "dead letter", "dead", "Dead letters"}
	default:
		return changeWords{"Replay", "replayed", "dead letter", "dead", "Dead letters"}
	}
}

// newList returns an empty list. The end of ctx ends all changes of the list. At the end of each change, before the
// change counts as done, the list calls the function wrote. shell.Router.Post called it too, but at the end of the
// request, long before.
func newList(ctx context.Context, wrote func(context.Context), logger *slog.Logger) *list {
	return &list{known: map[int]*change{}, ctx: ctx, wrote: wrote, logger: logger}
}

// again returns the change that the form with this token began before. If that change has failed, or has not read
// everything, the form may begin another.
func (l *list) again(token string) (id int, found bool) {
	for _, c := range l.known {
		if token != "" && c.Form.Token == token && (!c.Done || c.Fault == "" && !c.Form.Limited) {
			return c.ID, true
		}
	}
	return 0, false
}

// begin calls the function work in the background, and returns the ID of the change. If the form was sent before, begin
// only returns the ID of the change that it began then. Errors: domain.CodeConflict if too many changes run already, or
// after the end of the list's context.
func (l *list) begin(form forms.Change, work func(ctx context.Context, tell func(replay.Progress)) error) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, found := l.again(form.Token); found {
		return id, nil
	}
	if l.active >= changesAtOnce || l.ctx.Err() != nil {
		return 0, domain.Errorf(domain.CodeConflict, "too many changes are under way; wait until one of them is done")
	}
	l.last++
	l.active++
	c := &change{ID: l.last, Form: form}
	l.known[c.ID] = c
	delete(l.known, c.ID-changesKept)
	l.running.Go(func() {
		// A panic in this goroutine would end the process.
		err := domain.Recovered("panic", func() error {
			return work(l.ctx, func(p replay.Progress) {
				l.mu.Lock()
				defer l.mu.Unlock()
				c.Progress = p
				c.Form.Limited = c.Form.Limited || p.Limited
				// The count may have ended early, so more may be changed than were counted.
				c.Form.Matched = max(c.Form.Matched, p.Changed)
			})
		})
		l.wrote(l.ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.active--
		if c.Done = true; err == nil {
			c.Form.More = c.Form.Limited // the change has read all that it can
		}
		if err != nil && l.ctx.Err() == nil { // the page must not show the cause
			l.logger.WarnContext(l.ctx, "a change of the pages has ended early", "action", form.Action, "error", err)
		}
		_, stopped := errors.AsType[*domain.Stopped](err)
		switch code := domain.ErrorCode(err); {
		case err == nil:
		case stopped, code == domain.CodeInvalid: // the error says that the canary failed, or what the outbox refuses
			c.Fault = err.Error()
		case code == domain.CodeUnavailable:
			c.Fault = "the database or Redis is unavailable; what was done until then stays done"
		default:
			c.Fault = "it failed; what was done until then stays done"
		}
	})
	return c.ID, nil
}

func (l *list) find(id int) (change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, known := l.known[id]
	if !known {
		return change{}, false
	}
	return *c, true
}
