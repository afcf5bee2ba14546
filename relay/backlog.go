package relay

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// backlogMetrics are the gauges of the backlog. They exist only while this
// process measures, which is while it leads: the last figures of a
// process that no longer does would stand for ever.
type backlogMetrics struct {
	pending, oldest, dead, held, keys, oldestHeld, measured *prometheus.Desc

	mu   sync.Mutex
	last domain.Backlog
	at   time.Time // zero: not measured here
}

func newBacklogMetrics() *backlogMetrics {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" From the leader only.", nil, nil)
	}
	return &backlogMetrics{
		pending: describe("outboxd_relay_pending_events", "Events in the outbox, due or not; an estimate above 50,000."),
		oldest:  describe("outboxd_relay_oldest_due_age_seconds", "How long the oldest due event has been due."),
		dead:    describe("outboxd_relay_dead_letters", "Dead letters, at most 50,000."),
		held:    describe("outboxd_relay_held_events", "Events that wait for the turn of their ordering keys; an estimate above 50,000."),
		keys:    describe("outboxd_relay_held_keys", "Ordering keys that hold events back, at most 10,000."),
		oldestHeld: describe("outboxd_relay_oldest_held_age_seconds",
			"How long the event has waited that has waited longest among those next in turn of their ordering keys."),
		measured: describe("outboxd_relay_backlog_measured_timestamp_seconds", "When the backlog was measured."),
	}
}

func (m *backlogMetrics) set(b domain.Backlog, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.at = b, at
}

func (m *backlogMetrics) forget() { m.set(domain.Backlog{}, time.Time{}) }

// Describe implements prometheus.Collector.
func (m *backlogMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.pending, m.oldest, m.dead, m.held, m.keys, m.oldestHeld, m.measured} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (m *backlogMetrics) Collect(values chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() {
		return
	}
	for d, v := range map[*prometheus.Desc]float64{
		m.pending: float64(m.last.Pending), m.oldest: age(m.last.OldestDue), m.dead: float64(m.last.Dead),
		m.held: float64(m.last.Held), m.keys: float64(m.last.HeldKeys), m.oldestHeld: age(m.last.OldestHeld),
		m.measured: float64(m.at.UnixMilli()) / 1000,
	} {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}

// age is how many seconds ago something was, 0 of nothing and of what is yet to come.
func age(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(time.Since(at).Seconds(), 0)
}
