// Package oteloutbox carries OpenTelemetry's trace context from a producer to its
// consumers.
package oteloutbox

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// Headers returns the trace of ctx as W3C headers (traceparent, tracestate),
// for client.Outbox:
//
//	outbox := client.Outbox{Headers: oteloutbox.Headers}
func Headers(ctx context.Context) map[string]string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier
}

// Extract returns ctx with the trace from an event's headers, as the parent of
// the handler's spans.
func Extract(ctx context.Context, headers map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(headers))
}
