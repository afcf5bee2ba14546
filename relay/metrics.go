package relay

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/observe"
	"outboxd/domain/traceparent"
)

// metrics has the time series of the pollers. Only one can be registered in a registry. metrics is
// safe for concurrent use.
type metrics struct {
	events   *prometheus.CounterVec
	batch    prometheus.Histogram
	lag      prometheus.Histogram
	open     *prometheus.GaugeVec
	full     *prometheus.GaugeVec
	unusable *prometheus.GaugeVec
	relayed  atomic.Int64 // events handed to Redis by this process; the healer reads it
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outboxd_relay_events_total",
			Help: "Events by outcome of one attempt: enqueued, failed (refused, tried again later), dead, or suppressed (unique, and another task holds the lock). An outage counts nothing.",
		}, []string{"outcome"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "outboxd_relay_batch_events",
			Help:    "Events in one settled batch.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000},
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "outboxd_relay_lag_seconds",
			Help:    "Time from the moment an event was due (when its transaction began, or later) until the claim that delivered it committed. The delay of a retry does not count.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
		}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_relay_breaker_open",
			Help: "1 while relaying pauses because a server cannot be reached.",
		}, []string{"server"}),
		full: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_relay_queue_full",
			Help: "1 while the events of a bounded queue wait in the database because it is full.",
		}, []string{"queue"}),
		unusable: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_relay_queue_unusable",
			Help: "1 while the events of a queue wait in the database because Redis does not let its keys be used. Absent for a queue that works.",
		}, []string{"queue"}),
	}
	registry.MustRegister(m.events, m.batch, m.lag, m.open, m.full, m.unusable)
	for _, outcome := range []string{"enqueued", "failed", "dead", "suppressed"} {
		m.events.WithLabelValues(outcome)
	}
	return m
}

func (m *metrics) breaker(server string) prometheus.Gauge { return m.open.WithLabelValues(server) }

func (m *metrics) settled(events []domain.Event, outcomes []domain.Outcome, settledAt time.Time) {
	var enqueued, failed, dead, suppressed float64
	example := -1 // a delivered event with a recorded trace; one for each batch is enough
	for i, o := range outcomes {
		switch o.Verdict {
		case domain.Delivered:
			enqueued++
			if example < 0 && traceparent.Sampled(events[i].Headers) != "" {
				example = i
				continue
			}
			m.lag.Observe(settledAt.Sub(events[i].Available).Seconds())
		case domain.Refused:
			failed++
		case domain.Dead:
			dead++
		case domain.Suppressed:
			suppressed++
		case domain.Untried:
		}
	}
	if example >= 0 {
		observe.Duration(m.lag, settledAt.Sub(events[example].Available), traceparent.Sampled(events[example].Headers))
	}
	m.relayed.Add(int64(enqueued))
	m.events.WithLabelValues("enqueued").Add(enqueued)
	m.events.WithLabelValues("failed").Add(failed)
	m.events.WithLabelValues("dead").Add(dead)
	m.events.WithLabelValues("suppressed").Add(suppressed)
	m.batch.Observe(float64(len(events)))
}
