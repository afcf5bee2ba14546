package work

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/observe"
)

// metrics has the time series that all workers of a process share, if they have the same
// registry. It is safe for concurrent use.
type metrics struct {
	tasks    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	endToEnd prometheus.Histogram
	blocked  *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outboxd_worker_tasks_total",
			Help: "Runs of tasks by outcome: done, repeated (took effect before), failed, early (not its turn), postponed (its receiver or PostgreSQL is down, or the worker stops), unknown (PostgreSQL went back and lost the event), or unhandled (no handler; type is \"other\").",
		}, []string{"type", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "outboxd_worker_task_duration_seconds",
			Help:    "How long one run of a task took, with its transaction.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"type"}),
		endToEnd: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "outboxd_worker_event_done_seconds",
			Help:    "Time from the making of an event's ID, in its producer's transaction, to the commit of its effect. It includes a scheduled delay.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400},
		}),
		blocked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outboxd_worker_queue_left_to_others",
			Help: "1 while this worker has no handler for the task at the head of the queue. It then leaves the queue to other workers.",
		}, []string{"queue"}),
	}
	// A process also has one worker for each subscription, so the metric may already be registered.
	m.tasks, m.duration = register(registry, m.tasks), register(registry, m.duration)
	m.endToEnd, m.blocked = register(registry, m.endToEnd), register(registry, m.blocked)
	return m
}

// register registers a collector. If the same metric is already registered, the function returns
// the registered one.
func register[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	err := registry.Register(c)
	if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := before.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		panic(err)
	}
	return c
}

// observe counts one run of a task. traceID, if not "", becomes the exemplar of the histogram.
func (m *metrics) observe(taskType, outcome string, took time.Duration, traceID string) {
	m.tasks.WithLabelValues(taskType, outcome).Inc()
	observe.Duration(m.duration.WithLabelValues(taskType), took, traceID)
}

// forget removes the time series of a worker that no longer runs: those of the types that Options.Any
// handles, and those of its queues.
func (m *metrics) forget(name string, queues map[string]int) {
	m.tasks.DeletePartialMatch(prometheus.Labels{"type": name})
	m.duration.DeletePartialMatch(prometheus.Labels{"type": name})
	for queue := range queues {
		m.blocked.DeleteLabelValues(queue)
	}
}

// done is called when an event has been confirmed. done records the time since the event's
// emission, which it reads from the event's ID.
func (m *metrics) done(id domain.ID, traceID string) {
	if made, ok := id.Time(); ok {
		observe.Duration(m.endToEnd, max(time.Since(made), 0), traceID)
	}
}
