package jobs

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
	"outboxd/jobs/span"
)

// attemptKey counts the attempts of a task, from 1.
const attemptKey = attribute.Key("outboxd.task.attempt")

// taskTypeKey is an event's type, which is its task's.
const taskTypeKey = attribute.Key("outboxd.event.type")

// TracedPublisher is a domain.Publisher that records a span for each event that
// it hands on, inside the trace that the event carries or, if it carries none, a
// new one. The task then carries that span, as OpenTelemetry's conventions for
// messaging want it, so that the consumer's span comes below it.
type TracedPublisher struct {
	domain.Publisher
	tracer trace.Tracer
}

// TracePublisher returns next with spans by tracer.
func TracePublisher(next domain.Publisher, tracer trace.Tracer) *TracedPublisher {
	return &TracedPublisher{next, tracer}
}

// Publish implements domain.Publisher. It leaves events as they are: what is
// stored of them keeps the producer's trace, for the next attempt too.
func (p *TracedPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
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

// send begins an event's span and puts it into the event's headers.
func (p *TracedPublisher) send(ctx context.Context, e *domain.Event, begun time.Time) trace.Span {
	carrier := propagation.MapCarrier(e.Headers)
	ctx, span := p.tracer.Start(propagation.TraceContext{}.Extract(ctx, carrier), "send "+e.Queue,
		trace.WithTimestamp(begun), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			messagingSystem, semconv.MessagingDestinationName(e.Queue), semconv.MessagingOperationTypeSend,
			semconv.MessagingOperationName("send"),
		))
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingMessageID(e.TaskID()), semconv.MessagingMessageBodySize(len(e.Payload)), taskTypeKey.String(e.Type))
	}
	headers := make(propagation.MapCarrier, len(e.Headers)+2)
	maps.Copy(headers, carrier)
	propagation.TraceContext{}.Inject(ctx, headers)
	e.Headers = headers
	return span
}

// messagingSystem names what tasks go through. The conventions have no name for it.
var messagingSystem = semconv.MessagingSystemKey.String("asynq")

// startProcess begins the span of one delivery, below the one that sent the task.
func startProcess(ctx context.Context, tracer trace.Tracer, task *asynq.Task) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(task.Headers()))
	queue, _ := asynq.GetQueueName(ctx)
	id, _ := asynq.GetTaskID(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	return tracer.Start(ctx, "process "+queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		messagingSystem, semconv.MessagingDestinationName(queue), semconv.MessagingOperationTypeProcess,
		semconv.MessagingOperationName("process"), semconv.MessagingMessageID(id), semconv.MessagingMessageBodySize(len(task.Payload())),
		taskTypeKey.String(task.Type()), attemptKey.Int(retried+1),
	))
}
