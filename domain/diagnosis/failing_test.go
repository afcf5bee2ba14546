package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
)

// While events have few attempts left, the first step is to pause their queues, in a command that can be pasted. It leaves
// out queues that are paused, and deliveries, which have a pause of their own.
func TestFewAttemptsLeftAskForAPause(t *testing.T) {
	t.Parallel()
	now := time.Now()
	q := diagnosis.Quick{At: now, Workers: []overview.WorkerStatus{{}}}
	for _, name := range []string{"tickets", "notices", "paused", "subscription:crm"} {
		queue := overview.QueueStatus{Name: name, Retry: 1}
		if name == "paused" {
			queue.PausedAt = now
		}
		q.Queues = append(q.Queues, queue)
	}
	remedy := func(left map[string]int) string {
		q.Failing.Groups = nil
		for _, queue := range q.Queues {
			q.Failing.Groups = append(q.Failing.Groups, queued.FailingGroup{Type: "t", Queue: queue.Name, Tasks: 1, Error: "refused", Left: left[queue.Name]})
		}
		for _, f := range q.Findings() {
			if f.Code == "tasks-failing" {
				return f.Remedy
			}
		}
		t.Fatal("failing tasks are no finding")
		return ""
	}
	if got := remedy(map[string]int{"tickets": 1, "notices": 25, "paused": 1, "subscription:crm": 1}); !strings.Contains(got, "outboxd queues pause tickets --yes (") {
		t.Errorf("with one attempt left: %s", got)
	}
	for _, left := range []map[string]int{nil, {"tickets": 24, "paused": 2}} {
		if got := remedy(left); strings.Contains(got, "queues pause") {
			t.Errorf("with %v: %s", left, got)
		}
	}
}
