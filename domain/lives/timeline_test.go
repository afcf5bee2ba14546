package lives_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// Asynq keeps times in whole seconds, so a task may seem to be done before its event was emitted.
func TestTimelineKeepsTheOrderWithinASecond(t *testing.T) {
	t.Parallel()
	second := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	life := lives.Life{SentAt: second.Add(73 * time.Millisecond), ConfirmedAt: second.Add(80 * time.Millisecond)}
	life.CreatedAt = second.Add(67 * time.Millisecond)
	// What becomes of the event in the same second comes after its task was completed.
	life.Journal = []lives.JournalEntry{{At: second.Add(90 * time.Millisecond), Stage: "person", Entry: "redriven"}}
	var order []string
	for _, step := range life.Timeline([]queued.TaskState{{TaskID: "1", CompletedAt: second, NextAt: second}}) {
		order = append(order, step.What)
	}
	want := []string{"emitted", "enqueued", "confirmed", "completed (Redis)", "redriven (person)", "next attempt (Redis)"}
	if len(order) != len(want) {
		t.Fatalf("%q, want %q", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Errorf("%q, want %q", order, want)
			break
		}
	}
}

func TestRetriesSaysWhatDecidesThem(t *testing.T) {
	t.Parallel()
	event := func(n *int, subscription string) (l lives.Life) {
		l.Type, l.Subscription, l.Options.MaxRetry = "order:paid", subscription, n
		return l
	}
	for want, life := range map[string]lives.Life{
		"": {}, // only the journal has it
		"up to 25: Asynq's default, because the event has no max_retry": event(nil, ""),
		"up to 0: max_retry of the event":                               event(new(0), ""),
		"up to 9: retry.attempts of the subscription":                   event(new(9), "crm"),
	} {
		if got := life.Retries(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDescribeSaysWhatTheTaskWaitsFor(t *testing.T) {
	t.Parallel()
	life := lives.Life{State: lives.StateInFlight}
	for _, c := range []struct {
		want string
		task queued.TaskState
	}{
		{"its task waits for a worker", queued.TaskState{State: "pending"}},
		{"its task is being carried out", queued.TaskState{State: "active"}},
		{"its task waits for its time", queued.TaskState{State: "scheduled"}},
		{"failing: its task failed: no", queued.TaskState{State: "retry", LastError: "no"}},
		{"its task was archived", queued.TaskState{State: "archived"}},
		{"its task is completed", queued.TaskState{State: "completed"}},
		{"its task is not in Redis any more, except for remains that no worker finds", queued.TaskState{State: queued.StateStranded}},
	} {
		if got := life.Describe([]queued.TaskState{c.task}, time.Now()); strings.TrimPrefix(got, "in flight: handed to Redis, not confirmed yet; ") != c.want {
			t.Errorf("%+v: %q, want %q", c.task, got, c.want)
		}
	}
	if got := life.Describe([]queued.TaskState{}, time.Now()); !strings.Contains(got, "its task is not in Redis any more") {
		t.Errorf("without a task: %q", got)
	}
	if got := life.Describe(nil, time.Now()); strings.Contains(got, "task") {
		t.Errorf("without having asked: %q", got)
	}
}

func TestStepsHaveTitles(t *testing.T) {
	t.Parallel()
	for what, want := range map[string]string{
		"emitted": "emitted", "available": "due", "redriven (relay)": "sent again: Redis may have lost it", "redriven (person)": "sent again by hand",
		"next attempt (Redis)": "next attempt", "completed (Redis)": "completed in Redis", "died (worker)": "died (worker)",
	} {
		if got := (&lives.Step{What: what}).Title(); got != want {
			t.Errorf("%s has the title %q, want %q", what, got, want)
		}
	}
}

func TestNumbersInAnswersHaveOneForm(t *testing.T) {
	t.Parallel()
	life := lives.Life{State: lives.StateDead, Stage: "worker", HeldBehind: 1000}
	life.OrderingKey = "customer-3"
	if said := life.Describe(nil, time.Now()); !strings.HasSuffix(said, "; 1,000 events of key customer-3 wait for it") {
		t.Error(said)
	}
	delivery := queued.TaskState{Queue: "subscription:crm", Retried: 1}
	if said := delivery.Retries(); said != "1 failed attempt" {
		t.Error(said)
	}
}
