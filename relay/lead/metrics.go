package lead

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// metrics has the time series of the leader's work. Every relay has them, because any may become the leader.
// metrics is safe for concurrent use.
type metrics struct {
	measured *measured
	queues   *queueGauges

	failing *prometheus.GaugeVec // by duty
	// These four metrics are about heals: a heal follows when Redis or PostgreSQL may have
	// lost data.
	heals, healedEvents prometheus.Counter
	lastHeal, lastTook  prometheus.Gauge
	// These two metrics are about single tasks that Redis lost.
	missing prometheus.Gauge
	resent  prometheus.Counter
	// archived counts dead letters that the archivist made of archived tasks.
	archived prometheus.Counter
	// These two metrics are about schedules.
	ticks    *prometheus.CounterVec // by outcome
	lateness prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		measured: newMeasured(),
		queues:   newQueueGauges(),
		failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_relay_duty_failing",
			Help: "1 while a part of the leader's work fails, other than by an outage, from the first attempt that failed to the next that succeeds: heal, measure, upkeep, keys, fold, tidy, acknowledge, cancelled, changes, replay, schedules or types. 0 in all other relays.",
		}, []string{"duty"}),
		heals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outboxd_relay_heals_total",
			Help: "How often everything unconfirmed was sent again because the queue may have lost data, or because the database went back to an earlier state.",
		}),
		healedEvents: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outboxd_relay_healed_events_total",
			Help: "Events that were put back into the outbox because the queue may have lost them.",
		}),
		lastHeal: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "outboxd_relay_last_heal_timestamp_seconds",
			Help: "When this process last sent everything unconfirmed again; 0 if never.",
		}),
		lastTook: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "outboxd_relay_last_heal_duration_seconds",
			Help: "How long the last healing took until the events were in the outbox again.",
		}),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "outboxd_relay_missing_events",
			Help: "Events that are not confirmed and whose task is not in Redis, up to 100,000. From the leader; 0 in the others.",
		}),
		resent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outboxd_relay_resent_events_total",
			Help: "Events that were put back into the outbox because their task was not in Redis any more.",
		}),
		archived: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outboxd_relay_archived_events_total",
			Help: "Events that became dead letters because their tasks were found in the queue's archives.",
		}),
	}
	m.ticks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outboxd_relay_schedule_ticks_total",
		Help: "Ticks of schedules by outcome: emitted, or left_out, because they were missed and the schedule's rule wants no event for them.",
	}, []string{"outcome"})
	m.lateness = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "outboxd_relay_schedule_lateness_seconds",
		Help: "How late the oldest tick is whose event could not be emitted yet; 0 if there is none. From the leader; 0 in the others.",
	})
	registry.MustRegister(m.measured, m.queues, m.failing, m.heals, m.healedEvents, m.lastHeal, m.lastTook, m.missing, m.resent, m.archived, m.ticks, m.lateness)
	m.ticks.WithLabelValues("emitted")
	m.ticks.WithLabelValues("left_out")
	return m
}

func (m *metrics) healed(at time.Time, took time.Duration) {
	m.heals.Inc()
	m.lastHeal.Set(float64(at.UnixMilli()) / 1000)
	m.lastTook.Set(took.Seconds())
}

// snapshotNamed is how old a snapshot must be before the metric names its process. Nearly every transaction has a
// snapshot for a moment, and each named process becomes a time series in Prometheus.
const snapshotNamed = time.Minute

// measured has the gauges of the backlog and of the state of the tables. The gauges exist only while this process
// is the leader. Otherwise the last figures of a former leader would stay for ever.
type measured struct {
	pending, oldest, dead, held, keys, oldestHeld, at *prometheus.Desc
	overdue, snapshot, tidied                         *prometheus.Desc

	mu        sync.Mutex
	backlog   domain.Backlog
	backlogAt time.Time // zero: not measured by this process
	upkeep    domain.Upkeep
	upkept    bool      // upkeep was measured by this process
	tidiedAt  time.Time // zero: not yet
}

func newMeasured() *measured {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" From the leader only.", labels, nil)
	}
	return &measured{
		pending: describe("outboxd_relay_pending_events", "Events in the outbox, due or not; an estimate above 50,000."),
		oldest:  describe("outboxd_relay_oldest_due_age_seconds", "How long the oldest due event has been due."),
		dead:    describe("outboxd_relay_dead_letters", "Dead letters, at most 50,000."),
		held:    describe("outboxd_relay_held_events", "Events that wait for the turn of their ordering keys; an estimate above 50,000."),
		keys:    describe("outboxd_relay_held_keys", "Ordering keys that hold events back, at most 10,000."),
		oldestHeld: describe("outboxd_relay_oldest_held_age_seconds",
			"How long the oldest of the events that get their ordering key's turn next has waited."),
		at: describe("outboxd_relay_backlog_measured_timestamp_seconds", "When the backlog was measured."),

		overdue: describe("outboxd_relay_history_overdue_partitions", "Partitions of the history that should have been dropped by now."),
		snapshot: describe("outboxd_relay_oldest_snapshot_age_seconds",
			"How long the oldest transaction that holds back vacuum has been open. From a minute on with its server process (0: a prepared transaction).", "pid"),
		tidied: describe("outboxd_relay_tidied_timestamp_seconds", "When partitions were last kept and tables trimmed without a fault; 0 if not yet."),
	}
}

func (m *measured) setBacklog(b domain.Backlog, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backlog, m.backlogAt = b, at
}

func (m *measured) setUpkeep(u domain.Upkeep) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.upkeep, m.upkept = u, true
}

func (m *measured) setTidied(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tidiedAt = at
}

// forget removes the gauges when this process is no longer the leader.
func (m *measured) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backlog, m.backlogAt = domain.Backlog{}, time.Time{}
	m.upkeep, m.upkept, m.tidiedAt = domain.Upkeep{}, false, time.Time{}
}

// Describe implements prometheus.Collector.
func (m *measured) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.pending, m.oldest, m.dead, m.held, m.keys, m.oldestHeld, m.at, m.overdue, m.snapshot, m.tidied} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (m *measured) Collect(values chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.backlogAt.IsZero() {
		gauge(m.pending, float64(m.backlog.Pending))
		gauge(m.oldest, age(m.backlog.OldestDue).Seconds())
		gauge(m.dead, float64(m.backlog.Dead))
		gauge(m.held, float64(m.backlog.Held))
		gauge(m.keys, float64(m.backlog.HeldKeys))
		gauge(m.oldestHeld, age(m.backlog.OldestHeld).Seconds())
		gauge(m.at, seconds(m.backlogAt))
	}
	if m.upkept {
		gauge(m.overdue, float64(m.upkeep.OverduePartitions))
		open, pid := age(m.upkeep.Snapshot.Begun), ""
		if open >= snapshotNamed {
			pid = strconv.Itoa(m.upkeep.Snapshot.PID)
		}
		gauge(m.snapshot, open.Seconds(), pid)
		gauge(m.tidied, seconds(m.tidiedAt))
	}
}

// age returns how long ago a time was, and 0 for the zero time and for a future time.
func age(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(time.Since(at), 0)
}

// seconds returns a time in Unix seconds, and 0 for the zero time.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}
