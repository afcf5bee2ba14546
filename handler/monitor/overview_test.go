package monitor_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/domain/overview"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// A check found 40 s ago that no worker serves a queue, and that a key holds events back. The page shows a worker of that
// queue now, so it only shows the key, and when that was checked.
func TestTheOverviewContradictsNoneOfItsFindings(t *testing.T) {
	t.Parallel()
	checked := append(thorough.RedisFacts{Queues: &thorough.QueueFacts{Unserved: []thorough.UnservedQueue{{Name: "mail", Tasks: 3}}}}.Findings(),
		thorough.PostgresFacts{Held: &thorough.HeldKeys{Keys: 1, Longest: time.Hour}}.Findings()...)
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.AdminToken = handlertest.AdminToken
		o.Sources.Look = func(time.Duration) diagnosis.Sight {
			q := diagnosis.Quick{
				At: time.Now(), Queues: []overview.QueueStatus{{Name: "mail", Pending: 3}},
				Workers: []overview.WorkerStatus{{Host: "new-worker", Queues: map[string]int{"mail": 1}}},
			}
			q.Standing.Held, q.Standing.Dead = 1, 1
			return diagnosis.Sight{Quick: q, Findings: q.Merge(diagnosis.Checked(append([]domain.Finding{}, checked...), q.At.Add(-40*time.Second)))}
		}
	})
	page := s.Get("/", "Accept", "text/html").Body
	if strings.Contains(page, "no worker serves") || !strings.Contains(page, "new-worker") {
		t.Errorf("the page contradicts itself: %s", page)
	}
	if n := strings.Count(page, "Checked once a minute, last 40 s ago."); n != 1 || !strings.Contains(page, "1 dead letter") || !strings.Contains(page, "1 ordering key holds events back") {
		t.Errorf("%d findings say when they were checked: %s", n, page)
	}
}
