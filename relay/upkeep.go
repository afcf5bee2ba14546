package relay

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// snapshotNamed is how old a snapshot has to be to be shown with its process.
// Every transaction has a snapshot for a moment, and each process that was ever
// named is a series in Prometheus.
const snapshotNamed = time.Minute

// upkeepMetrics are the gauges of the tables' state. Like the backlog's they exist
// only while this process leads.
type upkeepMetrics struct {
	overdue, snapshot, tidied *prometheus.Desc

	mu     sync.Mutex
	last   domain.Upkeep
	known  bool      // last was measured here
	tidyAt time.Time // zero: not yet
}

func newUpkeepMetrics() *upkeepMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" From the leader only.", labels, nil)
	}
	return &upkeepMetrics{
		overdue: describe("outboxd_relay_history_overdue_partitions", "Partitions of the history that should have been dropped by now."),
		snapshot: describe("outboxd_relay_oldest_snapshot_age_seconds",
			"How long the oldest transaction has been open that keeps vacuum from removing dead rows; with the server process that has it (0: a prepared transaction) from a minute on.", "pid"),
		tidied: describe("outboxd_relay_tidied_timestamp_seconds", "When partitions were last kept and tables trimmed without a fault; 0 if not yet."),
	}
}

func (m *upkeepMetrics) set(u domain.Upkeep) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.known = u, true
}

func (m *upkeepMetrics) tidy(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tidyAt = at
}

func (m *upkeepMetrics) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.known, m.tidyAt = domain.Upkeep{}, false, time.Time{}
}

// Describe implements prometheus.Collector.
func (m *upkeepMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- m.overdue
	descriptions <- m.snapshot
	descriptions <- m.tidied
}

// Collect implements prometheus.Collector.
func (m *upkeepMetrics) Collect(values chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.known {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.overdue, float64(m.last.OverduePartitions))
	pid, age := "", time.Duration(0)
	if !m.last.Snapshot.Begun.IsZero() {
		age = max(time.Since(m.last.Snapshot.Begun), 0)
	}
	if age >= snapshotNamed {
		pid = strconv.Itoa(m.last.Snapshot.PID)
	}
	gauge(m.snapshot, age.Seconds(), pid)
	tidied := 0.0
	if !m.tidyAt.IsZero() {
		tidied = float64(m.tidyAt.UnixMilli()) / 1000
	}
	gauge(m.tidied, tidied)
}
