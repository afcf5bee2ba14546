package figures_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
)

// redis knows only the queue "known". The map has the queues that are paused.
type redis map[string]bool

func (r redis) Pause(_ context.Context, queue string, known bool) error {
	switch {
	case !known && queue != "known":
		return domain.Errorf(domain.CodeNotFound, "no queue")
	case r[queue]:
		return domain.Errorf(domain.CodeConflict, "paused already")
	}
	r[queue] = true
	return nil
}

func (r redis) Resume(_ context.Context, queue string) error {
	if !r[queue] {
		return domain.Errorf(domain.CodeConflict, "not paused")
	}
	delete(r, queue)
	return nil
}

func (r redis) Paused(context.Context, []string) ([]string, error) { return nil, nil }

// actions records nothing, and returns err.
type actions struct {
	domain.ActionRecords
	err error
}

func (a actions) Record(context.Context, string, *domain.Action, int64, error) error { return a.err }

// A queue is paused and resumed even while the database is down.
func TestQueuesArePausedWithoutTheRecord(t *testing.T) {
	t.Parallel()
	down := errors.New("the database is down")
	queues := redis{}
	p := figures.Pauses{Queues: queues, Actions: actions{err: down}, OnRecord: func(context.Context, string) (*setup.Pause, error) { return nil, down }}
	for _, c := range []struct {
		kind, queue string
		code        domain.Code // empty: done, but not recorded
		paused      bool
	}{
		{domain.ActionPause, "known", "", true},
		{domain.ActionPause, "known", domain.CodeConflict, true},
		{domain.ActionResume, "known", "", false},
		{domain.ActionResume, "known", domain.CodeConflict, false},
		{domain.ActionPause, "unknown", domain.CodeNotFound, false},
	} {
		err := p.Change(t.Context(), c.kind, &domain.Action{}, c.queue)
		if unrecorded := err != nil && strings.Contains(err.Error(), "could not be recorded"); unrecorded != (c.code == "") || queues[c.queue] != c.paused ||
			errors.Is(err, down) != unrecorded || c.code != "" && domain.ErrorCode(err) != c.code {
			t.Errorf("%s %s: %v, paused: %t", c.kind, c.queue, err, queues[c.queue])
		}
	}

	p.Actions = actions{}
	p.OnRecord = func(context.Context, string) (*setup.Pause, error) { return &setup.Pause{By: "ada"}, nil }
	for _, kind := range []string{domain.ActionResume, domain.ActionPause} {
		if err := p.Change(t.Context(), kind, &domain.Action{}, "lost"); err != nil || queues["lost"] != (kind == domain.ActionPause) {
			t.Errorf("%s a queue whose pause is only on record: %v", kind, err)
		}
	}
}

// forgetful is a Redis that knows no queue.
type forgetful struct{ redis }

func (forgetful) Resume(context.Context, string) error {
	return domain.Errorf(domain.CodeNotFound, "no queue")
}

// A resume does not pause, even if Redis does not know the queue.
func TestAResumeNeverPauses(t *testing.T) {
	t.Parallel()
	queues := redis{}
	p := figures.Pauses{Queues: forgetful{queues}, Actions: actions{}, OnRecord: func(context.Context, string) (*setup.Pause, error) { return &setup.Pause{By: "ada"}, nil }}
	if err := p.Change(t.Context(), domain.ActionResume, &domain.Action{}, "lost"); domain.ErrorCode(err) != domain.CodeNotFound || queues["lost"] {
		t.Errorf("resume: %v, paused: %t", err, queues["lost"])
	}
}

// A change that could not be recorded is recorded when the person repeats it.
func TestAnUnrecordedPauseIsRecordedLater(t *testing.T) {
	t.Parallel()
	down := errors.New("the database is down")
	recorded := map[string]*setup.Pause{}
	p := figures.Pauses{Queues: redis{}, OnRecord: func(_ context.Context, queue string) (*setup.Pause, error) { return recorded[queue], nil }}
	for _, kind := range []string{domain.ActionPause, domain.ActionResume} {
		p.Actions = actions{err: down}
		if err := p.Change(t.Context(), kind, &domain.Action{}, "known"); !errors.Is(err, down) || !strings.Contains(err.Error(), kind+" it again when PostgreSQL can be reached") {
			t.Errorf("%s without the database: %v", kind, err)
		}
		p.Actions = actions{}
		if err := p.Change(t.Context(), kind, &domain.Action{}, "known"); err != nil {
			t.Errorf("%s again: %v", kind, err)
		}
		delete(recorded, "known")
		if kind == domain.ActionPause {
			recorded["known"] = &setup.Pause{}
		}
		if err := p.Change(t.Context(), kind, &domain.Action{}, "known"); domain.ErrorCode(err) != domain.CodeConflict {
			t.Errorf("%s what is %sd and on record: %v", kind, kind, err)
		}
	}
}

// Who renews a pause that Redis lost need not repeat its reason.
func TestARenewedPauseKeepsItsReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		onRecord    *setup.Pause
		given, want string
	}{
		"lost":           {&setup.Pause{By: "ada", Reason: "the bank is closed"}, "", "the pause of ada again: the bank is closed"},
		"without reason": {&setup.Pause{By: "ada"}, "", "the pause of ada again"},
		"another reason": {&setup.Pause{By: "ada", Reason: "the bank is closed"}, "until 9", "until 9"},
		"first":          {nil, "", ""},
	} {
		p := figures.Pauses{Queues: redis{}, Actions: actions{}, OnRecord: func(context.Context, string) (*setup.Pause, error) { return c.onRecord, nil }}
		action := domain.Action{Reason: c.given}
		if err := p.Change(t.Context(), domain.ActionPause, &action, "known"); err != nil || action.Reason != c.want {
			t.Errorf("%s: %v, %q, want %q", name, err, action.Reason, c.want)
		}
	}
}

// Tasks wait in the queue of a paused subscription too, although Redis has no pause of it.
func TestDeliveriesToAPausedSubscriptionWait(t *testing.T) {
	t.Parallel()
	p := figures.Pauses{Queues: redis{}, Receivers: func(context.Context) ([]overview.ReceiverStatus, error) {
		return []overview.ReceiverStatus{{Subscription: "crm", Paused: true}, {Subscription: "erp", Down: &setup.ReceiverDown{}}}, nil
	}}
	queues := []domain.QueueCount{{Queue: "subscription:crm", Count: 3}, {Queue: "subscription:erp", Count: 1}, {Queue: "mail", Count: 1}}
	if paused, err := p.Among(t.Context(), queues); err != nil || len(paused) != 1 || paused[0] != queues[0] {
		t.Errorf("%+v, %v", paused, err)
	}
}
