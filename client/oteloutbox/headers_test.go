package oteloutbox_test

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"outboxd/client"
	"outboxd/client/oteloutbox"
)

func TestATraceGoesAlong(t *testing.T) {
	t.Parallel()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	headers := oteloutbox.Headers(trace.ContextWithSpanContext(t.Context(), span))
	if want := "00-01000000000000000000000000000000-0200000000000000-01"; headers["traceparent"] != want {
		t.Errorf("the headers are %v", headers)
	}
	there := trace.SpanContextFromContext(oteloutbox.Extract(t.Context(), headers))
	if there.TraceID() != span.TraceID() || there.SpanID() != span.SpanID() || !there.IsRemote() {
		t.Errorf("the consumer's parent is %v", there)
	}
	if headers := oteloutbox.Headers(t.Context()); len(headers) != 0 {
		t.Errorf("without a trace the headers are %v", headers)
	}
}

func Example() {
	outbox := client.Outbox{Headers: oteloutbox.Headers}
	fmt.Println(outbox.Headers(context.Background()))
	// Output: map[]
}
