package handler

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain/observe"
	"outboxd/domain/traceparent"
)

// startSpan begins the span of a request. If the client sent a trace context, the
// span belongs to that trace. The names of the span's attributes are those of
// OpenTelemetry's conventions for HTTP servers. The span leaves out the URL's query,
// which may contain secrets.
func (s *Server) startSpan(ctx context.Context, c *fiber.Ctx, x *exchange) (context.Context, trace.Span) {
	client := propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		traceparent.Header: c.Get(traceparent.Header), "tracestate": c.Get("tracestate"),
	})
	return s.o.Tracer.Start(client, spanMethod(c.Method()), trace.WithTimestamp(x.began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			semconv.HTTPRequestMethodKey.String(methodAttribute(c.Method())), semconv.URLPath(c.Path()), semconv.URLScheme(c.Protocol()),
			semconv.ClientAddress(x.address.String()),
		))
}

// endSpan ends the span of a request. endSpan names the span after the route, which was
// not known before. If the client is at fault (status 4xx), the span is not marked as
// failed.
func endSpan(span trace.Span, method, route string, code int) {
	if route != unmatched {
		span.SetName(spanMethod(method) + " " + route)
		span.SetAttributes(semconv.HTTPRoute(route))
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(code))
	if code >= http.StatusInternalServerError {
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(code)))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

func spanMethod(method string) string {
	if name := methodAttribute(method); name != "_OTHER" {
		return name
	}
	return "HTTP"
}

func methodAttribute(method string) string {
	if slices.Contains(fiber.DefaultMethods, method) {
		return method
	}
	return "_OTHER"
}

// sampledTrace returns the ID of the request's trace; "" if the trace is not recorded.
func sampledTrace(c *fiber.Ctx, span trace.Span) string {
	var of trace.SpanContext
	if span != nil {
		of = span.SpanContext()
	}
	return observe.SampledTrace(of, map[string]string{traceparent.Header: c.Get(traceparent.Header)})
}
