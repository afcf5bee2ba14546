package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// healMetrics are what the leader counts about a queue that
// lost data.
type healMetrics struct {
	heals, events      prometheus.Counter
	lastHeal, lastTook prometheus.Gauge
}

func newHealMetrics(registry prometheus.Registerer) *healMetrics {
	m := &healMetrics{
		heals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outboxd_relay_heals_total",
			Help: "How often everything unconfirmed was sent again because the queue may have lost data.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
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
	}
	registry.MustRegister(m.heals, m.events, m.lastHeal, m.lastTook)
	return m
}

func (m *healMetrics) healed(at time.Time, took time.Duration) {
	m.heals.Inc()
	m.lastHeal.Set(float64(at.UnixMilli()) / 1000)
	m.lastTook.Set(took.Seconds())
}
