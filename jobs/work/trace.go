package work

import (
	"context"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"outboxd/jobs/span"
)

// startProcess begins the span of a task's run, as a child of the span that sent the task.
func startProcess(ctx context.Context, tracer trace.Tracer, task *asynq.Task) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(task.Headers()))
	queue, _ := asynq.GetQueueName(ctx)
	id, _ := asynq.GetTaskID(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	return tracer.Start(ctx, "process "+queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		span.Asynq, semconv.MessagingDestinationName(queue), semconv.MessagingOperationTypeProcess,
		semconv.MessagingOperationName("process"), semconv.MessagingMessageID(id), semconv.MessagingMessageBodySize(len(task.Payload())),
		span.TaskType.String(task.Type()), span.Attempt.Int(retried+1),
	))
}
