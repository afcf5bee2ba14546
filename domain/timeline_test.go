package domain_test

import (
	"testing"
	"time"

	"outboxd/domain"
)

// Asynq keeps times in whole seconds, so a task seems to be done before its
// event was emitted.
func TestTimelineKeepsTheOrderWithinASecond(t *testing.T) {
	t.Parallel()
	second := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	life := domain.EventLife{SentAt: second.Add(73 * time.Millisecond), ConfirmedAt: second.Add(80 * time.Millisecond)}
	life.CreatedAt = second.Add(67 * time.Millisecond)
	var order []string
	for _, step := range life.Timeline([]domain.TaskState{{TaskID: "1", CompletedAt: second}}) {
		order = append(order, step.What)
	}
	want := []string{"emitted", "enqueued", "confirmed", "completed (Redis)"}
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
