// Package span has what the spans of tasks share: how to record an error, and child spans
// for calls to other servers.
package span

import (
	"context"
	"net"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
)

// scope is the OpenTelemetry instrumentation scope of the spans of the packages below
// jobs.
const scope = "outboxd/jobs"

// Client makes a call to another server. If the trace of ctx is recorded, the call gets a
// span of its own, and the context of the call has this span.
func Client(ctx context.Context, name string, call func(context.Context) error, attributes ...attribute.KeyValue) error {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return call(ctx)
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	defer span.End()
	err := call(ctx)
	Fail(span, err)
	return err
}

// Server returns the span attributes for the server at host:port.
func Server(addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []attribute.KeyValue{semconv.ServerAddress(addr)}
	}
	attributes := []attribute.KeyValue{semconv.ServerAddress(host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, semconv.ServerPort(n))
	}
	return attributes
}

// Fail records an error, if there is one. The error must not contain a secret.
func Fail(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	kind := semconv.ErrorTypeOther
	if code := domain.ErrorCode(err); code != "" {
		kind = semconv.ErrorTypeKey.String(string(code))
	}
	span.SetAttributes(kind)
	span.SetStatus(codes.Error, err.Error())
}
