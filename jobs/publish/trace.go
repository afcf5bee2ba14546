package publish

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
	"outboxd/jobs/span"
)

// Traced is a domain.Publisher that records a span for each event. The span belongs to the event's trace, or to a
// new trace if the event has none. The task then carries the context of this span, as OpenTelemetry's conventions
// for messaging require, so that the consumer's span becomes its child.
type Traced struct {
	domain.Publisher
	tracer trace.Tracer
}

// Trace returns a Publisher that calls the given one, and makes spans with the given tracer.
func Trace(next domain.Publisher, tracer trace.Tracer) *Traced {
	return &Traced{next, tracer}
}

// Publish implements domain.Publisher. Publish does not change the caller's events: the stored event keeps the
// producer's trace for a later attempt.
func (p *Traced) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	begun := time.Now()
	sent, spans := slices.Clone(events), make([]trace.Span, len(events))
	for i := range sent {
		spans[i] = p.send(ctx, &sent[i], begun)
	}
	receipts := p.Publisher.Publish(ctx, sent)
	ended := trace.WithTimestamp(time.Now())
	for i := range spans {
		span.Fail(spans[i], receipts[i].Failure())
		spans[i].End(ended)
	}
	return receipts
}

// send begins an event's span and writes it into the event's headers.
func (p *Traced) send(ctx context.Context, e *domain.Event, begun time.Time) trace.Span {
	carrier := propagation.MapCarrier(e.Headers)
	ctx, sending := p.tracer.Start(propagation.TraceContext{}.Extract(ctx, carrier), "send "+e.Queue,
		trace.WithTimestamp(begun), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			span.Asynq, semconv.MessagingDestinationName(e.Queue), semconv.MessagingOperationTypeSend,
			semconv.MessagingOperationName("send"),
		))
	if sending.IsRecording() {
		sending.SetAttributes(semconv.MessagingMessageID(e.TaskID()), semconv.MessagingMessageBodySize(len(e.Payload)), span.TaskType.String(e.Type))
	}
	headers := make(propagation.MapCarrier, len(e.Headers)+2)
	maps.Copy(headers, carrier)
	propagation.TraceContext{}.Inject(ctx, headers)
	e.Headers = headers
	return sending
}
