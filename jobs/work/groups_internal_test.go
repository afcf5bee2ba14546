package work

import (
	"context"
	"log/slog"
	"testing"

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
	if groups.ask([]*member{left}); inbox.times != 0 {
		t.Errorf("the inbox was asked %d times", inbox.times)
	}
	if groups.ask([]*member{left, stays}); inbox.times != 1 || (<-stays.answer).alone {
		t.Errorf("the inbox was asked %d times for a task that stays", inbox.times)
	}
}
