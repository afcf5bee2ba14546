package failing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/queued"
	"outboxd/domain/replay"
)

// mails are failing tasks whose next attempts end as the field next says.
type mails struct {
	queued.FailingTasks
	domain.FailedTasks
	failing map[string]queued.FailingTask
	next    string // "confirmed", "failed", "dead"; otherwise the attempts do not end
	tried   map[domain.ID]bool
	causes  []error // of the recorded actions
}

func newMails(n int, next string) *mails {
	m := &mails{failing: map[string]queued.FailingTask{}, next: next, tried: map[domain.ID]bool{}}
	for i := range n {
		id := domain.ID{6: 0x70, 8: 0x80, 15: byte(i)}.String()
		m.failing[id] = queued.FailingTask{TaskRef: queued.TaskRef{Queue: "q", TaskID: id}, Type: "mail:send", Failed: 1}
	}
	return m
}

func (m *mails) All(context.Context, int) (refs []queued.TaskRef, more bool, err error) {
	for _, id := range slices.Sorted(maps.Keys(m.failing)) {
		refs = append(refs, m.failing[id].TaskRef)
	}
	return refs, false, nil
}

func (m *mails) Failing(_ context.Context, refs []queued.TaskRef) (map[string]queued.FailingTask, error) {
	found := map[string]queued.FailingTask{}
	for _, ref := range refs {
		if task, fails := m.failing[ref.TaskID]; fails {
			found[ref.TaskID] = task
		}
	}
	return found, nil
}

func (m *mails) Retry(_ context.Context, refs []queued.TaskRef) ([]queued.TaskRef, error) {
	for _, ref := range refs {
		id, _, _ := domain.ParseTaskID(ref.TaskID)
		m.tried[id] = true
		if task := m.failing[ref.TaskID]; m.next == "failed" {
			task.Failed++
			m.failing[ref.TaskID] = task
		} else {
			delete(m.failing, ref.TaskID)
		}
	}
	return refs, nil
}

func (m *mails) Retried(context.Context, []domain.Event, *domain.Action) error { return nil }

func (m *mails) Record(_ context.Context, _ string, _ *domain.Action, _ int64, cause error) error {
	m.causes = append(m.causes, cause)
	return cause
}

func (m *mails) outcomes(_ context.Context, events []domain.Replayed, _ []string) (o domain.ReplayOutcomes, _ error) {
	switch m.next {
	case "confirmed":
		o.Confirmed = len(events)
	case "dead":
		o.Dead = len(events)
	default:
		o.Open = len(events)
	}
	return o, nil
}

func (m *mails) change() *failing.Change {
	return &failing.Change{
		Tasks: m, Failures: m, Actions: m, Outcomes: m.outcomes,
		Known: func(_ context.Context, ids []domain.ID) ([]domain.ID, error) { return ids, nil },
	}
}

func TestRetryTriesAFewFirst(t *testing.T) {
	t.Parallel()
	const all, first = 10, 3
	for next, want := range map[string]struct {
		changed int64
		says    string
		canary  replay.CanaryOutcome
	}{
		"confirmed": {all, "", replay.CanaryOutcome{Sent: first, ReplayOutcomes: domain.ReplayOutcomes{Confirmed: first}}},
		"failed":    {first, "the canary failed: 3 of 3 events failed again; the other failing events were left as they are", replay.CanaryOutcome{Sent: first, Failed: first}},
		"dead":      {first, "the canary failed: 3 of 3 events failed again", replay.CanaryOutcome{Sent: first, Failed: first}},
		"waits":     {first, "the canary is undecided: 3 of 3 events were not confirmed within 5m0s", replay.CanaryOutcome{Sent: first, ReplayOutcomes: domain.ReplayOutcomes{Open: first}}},
	} {
		t.Run(next, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMails(all, next)
				var last replay.Progress
				result, err := m.change().Retry(t.Context(), &domain.Action{}, failing.Filter{}, replay.Pace{Canary: first, CanaryTimeout: 5 * time.Minute}, func(p replay.Progress) { last = p })
				if said := fmt.Sprint(err); (err != nil) != (want.says != "") || err != nil && !strings.Contains(said, want.says) {
					t.Errorf("it says %s, want %q", said, want.says)
				}
				if result.Matched != all || result.Changed != want.changed || len(m.tried) != int(want.changed) || last.Changed != want.changed {
					t.Errorf("%+v, %d tried, told %+v", result, len(m.tried), last)
				}
				if last.Canary == nil || *last.Canary != want.canary {
					t.Errorf("the canary is %+v, want %+v", last.Canary, want.canary)
				}
				if len(m.causes) != 1 || !errors.Is(m.causes[0], err) {
					t.Errorf("the recorded end is %v", m.causes)
				}
			})
		})
	}
}

// Workers may try the first tasks between the choice and the retry, for example because their queue was just resumed.
func TestTheCanaryTakesOtherTasksForThoseThatWereTried(t *testing.T) {
	t.Parallel()
	for tried, want := range map[int]struct{ canary, changed int }{2: {3, 8}, 8: {2, 2}, 10: {0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			m := newMails(10, "confirmed")
			c := m.change()
			c.Known = func(_ context.Context, ids []domain.ID) ([]domain.ID, error) {
				for i := range tried { // after all were chosen
					delete(m.failing, domain.ID{6: 0x70, 8: 0x80, 15: byte(i)}.String())
				}
				return ids, nil
			}
			var last replay.Progress
			result, err := c.Retry(t.Context(), &domain.Action{}, failing.Filter{}, replay.Pace{Canary: 3, CanaryTimeout: time.Minute}, func(p replay.Progress) { last = p })
			if err != nil || result.Matched != 10 || result.Changed != int64(want.changed) || result.Meanwhile != int64(tried) || last.Meanwhile != int64(tried) {
				t.Errorf("%d tried: %+v, %v", tried, result, err)
			}
			if sent := last.Canary; (sent == nil) != (want.canary == 0) || sent != nil && sent.Sent != want.canary {
				t.Errorf("%d tried: the canary is %+v", tried, sent)
			}
		})
	}
}

func TestTheCanaryHasTasksOfEachKind(t *testing.T) {
	t.Parallel()
	m := newMails(10, "waits")
	for i, ref := range slices.Sorted(maps.Keys(m.failing)) {
		task := m.failing[ref]
		task.Error = "timeout"
		if i > 7 {
			task.Error = fmt.Sprint("no such user ", i)
		}
		m.failing[ref] = task
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _ = m.change().Retry(ctx, &domain.Action{}, failing.Filter{}, replay.Pace{Canary: 3, CanaryTimeout: time.Minute}, func(replay.Progress) { cancel() })
	var tried []byte
	for id := range m.tried {
		tried = append(tried, id[15])
	}
	if slices.Sort(tried); !slices.Equal(tried, []byte{0, 1, 8}) {
		t.Errorf("the canary tried the tasks %v, want the first two that time out, and one without a user", tried)
	}
}

func TestRetryKeepsToItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMails(100, "confirmed")
		ctx, cancel := context.WithTimeout(t.Context(), 1950*time.Millisecond)
		defer cancel()
		result, err := m.change().Retry(ctx, &domain.Action{}, failing.Filter{}, replay.Pace{Rate: 20}, func(replay.Progress) {})
		if err == nil || result.Matched != 100 || result.Changed != 40 {
			t.Errorf("within two seconds %+v, %v, want 20 a second", result, err)
		}
	})
}

// A person who gives up or retries a group has seen the tasks that had failed by then. What fails later, or fails again, is
// left alone.
func TestWhatFailsLaterIsLeftAlone(t *testing.T) {
	t.Parallel()
	looked := time.Date(2026, 11, 28, 12, 0, 0, 500_000_000, time.UTC)
	m := newMails(5, "confirmed")
	for i, at := range []time.Time{looked.Add(-time.Hour), looked.Truncate(time.Second), looked.Truncate(time.Second).Add(time.Second), looked.Add(time.Hour), {}} {
		id := domain.ID{6: 0x70, 8: 0x80, 15: byte(i)}.String()
		task := m.failing[id]
		task.FailedAt = at
		m.failing[id] = task
	}
	filter := failing.Filter{AsOf: looked}
	if counted, err := m.change().Count(t.Context(), filter, 0); err != nil || counted.Matched != 3 {
		t.Errorf("counted are %+v, %v", counted, err)
	}
	result, err := m.change().Retry(t.Context(), &domain.Action{}, filter, replay.Pace{}, func(replay.Progress) {})
	if err != nil || result.Matched != 3 || result.Changed != 3 {
		t.Errorf("%+v, %v", result, err)
	}
	for id := range m.tried {
		if id[15] == 2 || id[15] == 3 {
			t.Errorf("task %d was retried, which failed later", id[15])
		}
	}
}
