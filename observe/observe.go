// Package observe connects metrics with traces: which trace something belongs to,
// and an example of it in a histogram. It names no metric.
package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
)

// Duration counts how long something took. traceID, unless it is "", is kept as an
// example of something that took so long.
func Duration(histogram prometheus.Observer, took time.Duration, traceID string) {
	if exemplars, able := histogram.(prometheus.ExemplarObserver); able && traceID != "" {
		exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	histogram.Observe(took.Seconds())
}

// SampledTrace returns the ID of the trace of a span or, where there is no span, of
// the headers, if that trace is recorded, and otherwise "".
func SampledTrace(span trace.SpanContext, headers map[string]string) string {
	switch {
	case !span.IsValid():
		return domain.SampledTrace(headers)
	case span.IsSampled():
		return span.TraceID().String()
	default:
		return ""
	}
}
