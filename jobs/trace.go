package jobs

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
)

// scope names what the spans of this package come from.
const scope = "outboxd/jobs"

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
	for i, span := range spans {
		failSpan(span, receipts[i].Failure())
		span.End(ended)
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

// sampledTrace returns the ID of the trace that a delivery belongs to, if it is
// recorded, and otherwise "".
func sampledTrace(ctx context.Context, task *asynq.Task) string {
	span := trace.SpanContextFromContext(ctx)
	switch {
	case !span.IsValid():
		return domain.SampledTrace(task.Headers())
	case span.IsSampled():
		return span.TraceID().String()
	default:
		return ""
	}
}

// inClientSpan makes a call to another server, in a span of its own if the work
// that ctx belongs to is recorded. The span is in the context of the call.
func inClientSpan(ctx context.Context, name string, call func(context.Context) error, attributes ...attribute.KeyValue) error {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return call(ctx)
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	defer span.End()
	err := call(ctx)
	failSpan(span, err)
	return err
}

// serverAttributes name the server at host:port.
func serverAttributes(addr string) []attribute.KeyValue {
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

// failSpan records an error, if there is one. What comes here must hold no secret.
func failSpan(span trace.Span, err error) {
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
