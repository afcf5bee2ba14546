package deliver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics has the Prometheus metrics of the deliveries of a process. They are safe for
// concurrent use.
type Metrics struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	down     *prometheus.GaugeVec
}

// NewMetrics registers the metrics of all subscriptions of a process.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outboxd_delivery_attempts_total",
			Help: "Attempts of deliveries by outcome: accepted, repeat (tried again later), postponed (the receiver is down; the attempt is not counted), refused, or gone (410).",
		}, []string{"subscription", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "outboxd_delivery_attempt_duration_seconds",
			Help:    "How long one attempt of a delivery took, until its answer was read or given up.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"subscription"}),
		down: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_delivery_receiver_down",
			Help: "1 while the subscription's receiver is down. This worker then lets its deliveries wait.",
		}, []string{"subscription"}),
	}
	registry.MustRegister(m.attempts, m.duration, m.down)
	return m
}

func (m *Metrics) observe(subscription string, a *Attempt, charged bool) {
	if a.Took == 0 {
		return // not sent
	}
	outcome := string(a.Outcome)
	if a.Outcome == Repeat && !charged {
		outcome = "postponed"
	}
	m.attempts.WithLabelValues(subscription, outcome).Inc()
	m.duration.WithLabelValues(subscription).Observe(a.Took.Round(time.Microsecond).Seconds())
}

// Down sets whether a receiver is down.
func (m *Metrics) Down(subscription string, down bool) {
	value := 0.0
	if down {
		value = 1
	}
	m.down.WithLabelValues(subscription).Set(value)
}

// Forget removes the time series of a subscription to which this process no longer
// delivers.
func (m *Metrics) Forget(subscription string) {
	m.attempts.DeletePartialMatch(prometheus.Labels{"subscription": subscription})
	m.duration.DeletePartialMatch(prometheus.Labels{"subscription": subscription})
	m.down.DeletePartialMatch(prometheus.Labels{"subscription": subscription})
}
