package relay

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// backlogMetrics are the gauges of the backlog. They exist only while this
// process measures, which is while it keeps house: the last figures of a
// process that no longer does would stand for ever.
type backlogMetrics struct {
	pending, oldest, dead, measured *prometheus.Desc

	mu   sync.Mutex
	last domain.Backlog
	at   time.Time // zero: not measured here
}

func newBacklogMetrics() *backlogMetrics {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" From the relay that keeps house only.", nil, nil)
	}
	return &backlogMetrics{
		pending:  describe("outboxd_relay_pending_events", "Events in the outbox, due or not; an estimate above 50,000."),
		oldest:   describe("outboxd_relay_oldest_due_age_seconds", "How long the oldest due event has been due."),
		dead:     describe("outboxd_relay_dead_letters", "Dead letters, at most 50,000."),
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
	for _, d := range []*prometheus.Desc{m.pending, m.oldest, m.dead, m.measured} {
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
	age := 0.0
	if !m.last.OldestDue.IsZero() {
		age = max(time.Since(m.last.OldestDue).Seconds(), 0)
	}
	for d, v := range map[*prometheus.Desc]float64{
		m.pending: float64(m.last.Pending), m.oldest: age, m.dead: float64(m.last.Dead),
		m.measured: float64(m.at.UnixMilli()) / 1000,
	} {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
