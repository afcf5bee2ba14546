package handler

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"outboxd/domain/observe"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// unmatched is the route label of all requests that match no route. Without it, a
// client that tries many paths could fill the metrics registry.
const unmatched = "unmatched"

// unknownMethod replaces the HTTP method of a request if fiber does not know the
// method.
const unknownMethod = "UNKNOWN"

type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newHTTPMetrics registers the HTTP metrics, or returns those that another app of
// the process has registered. Without a registerer the metrics are counted but not
// exposed.
func newHTTPMetrics(r prometheus.Registerer) *httpMetrics {
	m := &httpMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outboxd_http_requests_total",
			Help: "HTTP requests answered, by method, route pattern and status code.",
		}, []string{"method", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "outboxd_http_request_duration_seconds",
			Help:    "Time from the arrival of an HTTP request to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route"}),
	}
	m.requests = register(r, m.requests)
	m.duration = register(r, m.duration)
	return m
}

// register panics if another kind of metric has the same name. Such a clash of
// names is a bug in the code, and makes every start fail.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		if existing, same := already.ExistingCollector.(C); same {
			return existing
		}
		panic(err)
	} else if err != nil {
		panic(err)
	}
	return c
}

// observe counts a request and records its duration. If traceID is not "", it
// becomes the exemplar of the duration.
func (m *httpMetrics) observe(method, route string, code int, took time.Duration, traceID string) {
	if !slices.Contains(fiber.DefaultMethods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
	observe.Duration(m.duration.WithLabelValues(method, route), took, traceID)
}
