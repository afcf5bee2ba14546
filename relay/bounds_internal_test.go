package relay

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// Events that are enqueued while Redis is asked for the length of their queue count, although the answer may not have
// them.
func TestWhatIsEnqueuedDuringAMeasurementCounts(t *testing.T) {
	t.Parallel()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "full", Help: "1 if a queue is full."}, []string{"queue"})
	b := newBounds(nil, map[string]int{"mail": 100}, gauge, slog.New(slog.DiscardHandler), func() {})
	events := func(n int) ([]domain.Event, []domain.Outcome) {
		list, outcomes := make([]domain.Event, n), make([]domain.Outcome, n)
		for i := range list {
			list[i].Queue, outcomes[i].Verdict = "mail", domain.Delivered
		}
		return list, outcomes
	}
	b.measured(map[string]int64{"mail": 0}, b.addedUntil(), time.Now())
	before := b.addedUntil()
	b.added(events(40))
	b.measured(map[string]int64{"mail": 0}, before, time.Now())
	b.added(events(59))
	if closed := b.closed(); len(closed) != 0 {
		t.Errorf("with 99 of 100 tasks %v is closed", closed)
	}
	b.added(events(1))
	if closed := b.closed(); len(closed) != 1 {
		t.Error("with 100 tasks, 40 of them enqueued during a measurement, the queue is open")
	}
	b.measured(map[string]int64{"mail": 50}, b.addedUntil(), time.Now())
	if closed := b.closed(); len(closed) != 0 {
		t.Errorf("with 50 tasks %v is closed", closed)
	}
}
