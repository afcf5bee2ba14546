// Package observe connects metrics with traces: it finds the trace ID of a span
// or of headers, and adds exemplars to histograms. It names no metric.
package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain/traceparent"
)

// Duration adds the time that something took to a histogram. A traceID other than ""
// becomes the exemplar.
func Duration(histogram prometheus.Observer, took time.Duration, traceID string) {
	if exemplars, able := histogram.(prometheus.ExemplarObserver); able && traceID != "" {
		exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	histogram.Observe(took.Seconds())
}

// SampledTrace returns the ID of the trace of a span, or of the headers if there is no
// span. SampledTrace returns "" if the trace is not recorded.
func SampledTrace(span trace.SpanContext, headers map[string]string) string {
	switch {
	case !span.IsValid():
		return traceparent.Sampled(headers)
	case span.IsSampled():
		return span.TraceID().String()
	default:
		return ""
	}
}
