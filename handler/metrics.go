package handler

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"outboxd/observe"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// unmatched is the route label of requests that no route takes, so that a
// scanner cannot fill the registry with paths.
const unmatched = "unmatched"

// unknownMethod stands for every method that fiber does not know.
const unknownMethod = "UNKNOWN"

type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newHTTPMetrics registers the metrics, or joins those that another app of the
// same process has registered. Without a registerer the counts are not exposed.
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

// register panics on a name that is taken by something else: a mistake in the
// code, which the first start shows.
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

// observe counts a request. traceID, unless it is "", is kept as an example of a
// request that took so long.
func (m *httpMetrics) observe(method, route string, code int, took time.Duration, traceID string) {
	if !slices.Contains(fiber.DefaultMethods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
	observe.Duration(m.duration.WithLabelValues(method, route), took, traceID)
}
