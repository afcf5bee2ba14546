package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// asked counts the questions to an inbox.
type asked struct {
	domain.Inbox
	times int
}

func (a *asked) AskAll(_ context.Context, ids []domain.ID) ([]domain.Confirmation, error) {
	a.times++
	return make([]domain.Confirmation, len(ids)), nil
}

// If all tasks of a group have left it, for example because the database hangs, the inbox is not asked for them: nobody
// waits for the answer, and nothing would bound the question.
func TestAGroupThatEverybodyLeftAsksNothing(t *testing.T) {
	t.Parallel()
	inbox := &asked{}
	w := New(Options{Inbox: inbox, Concurrency: 1, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	groups := newGroups(t.Context(), w)
	left, stays := newMember(t.Context(), Task{EventID: domain.ID{1}}, nil), newMember(t.Context(), Task{EventID: domain.ID{2}}, nil)
	left.place.Take()
	if groups.ask([]*member{left}, func() {}); inbox.times != 0 {
		t.Errorf("the inbox was asked %d times", inbox.times)
	}
	if groups.ask([]*member{left, stays}, func() {}); inbox.times != 1 || (<-stays.answer).alone {
		t.Errorf("the inbox was asked %d times for a task that stays", inbox.times)
	}
}

// hangs is an inbox of a database that does not answer.
type hangs struct{ domain.Inbox }

func (hangs) Process(ctx context.Context, _ domain.ID, _ func(context.Context, domain.Effects) error) (bool, error) {
	<-ctx.Done()
	return false, fmt.Errorf("process an event: %w", ctx.Err())
}

func (h hangs) ProcessAll(ctx context.Context, _ []domain.ID, _ func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	_, err := h.Process(ctx, domain.ID{}, nil)
	return nil, err
}

// If the worker stops while the database does not answer, a task whose effect has happened loses no attempt.
func TestAConfirmationThatTheStopInterruptsCostsNoAttempt(t *testing.T) {
	t.Parallel()
	w := New(Options{Inbox: hangs{}, Concurrency: 1, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	running, stop := context.WithCancel(t.Context())
	stop()
	_, err := w.record(t.Context(), running, newGroups(running, w), Task{EventID: domain.ID{1}}, nil)
	if !errors.Is(err, errStopping) || !isBlameless(err) {
		t.Errorf("the task ends with %v", err)
	}
}

// takes is an inbox in which every event takes effect.
type takes struct{ domain.Inbox }

func (takes) Process(ctx context.Context, _ domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	return true, effect(ctx, nil)
}

func (t takes) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	return nil, effect(ctx, nil, ids)
}

// A Record that panics costs its task an attempt, and does not end the process.
func TestARecordThatPanicsFailsItsTaskAlone(t *testing.T) {
	t.Parallel()
	w := New(Options{Inbox: takes{}, Concurrency: 1, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	record := func(context.Context, domain.Effects) error { panic("no such column") }
	_, err := w.record(t.Context(), t.Context(), newGroups(t.Context(), w), Task{EventID: domain.ID{1}}, record)
	if err == nil || !strings.Contains(err.Error(), "no such column") || isBlameless(err) {
		t.Errorf("the task ends with %v", err)
	}
}

// endless is an inbox whose transactions of several tasks do not end, until it is released.
type endless struct {
	takes
	release chan struct{}
	begun   int
}

func (e *endless) ProcessAll(context.Context, []domain.ID, func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	e.begun++
	<-e.release
	return nil, errEnded
}

// Groups that do not end take no place for good. Other tasks still form groups.
func TestAGroupWithoutAnEndTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inbox := &endless{release: make(chan struct{})}
		defer close(inbox.release)
		w := New(Options{Inbox: inbox, Concurrency: 1, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		groups := newGroups(t.Context(), w)
		for n := range 3 * byte(groups.atOnce()) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, _ = groups.Confirm(ctx, Task{EventID: domain.ID{n + 1}}, nil)
			}()
			synctest.Wait()
			if time.Sleep(2 * time.Minute); inbox.begun != int(n)+1 {
				t.Fatalf("%d groups began, want %d", inbox.begun, n+1)
			}
		}
	})
}
