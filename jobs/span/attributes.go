package span

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// What the spans of publishing and of working say of a task.
const (
	// Attempt counts the attempts of a task, from 1.
	Attempt = attribute.Key("outboxd.task.attempt")
	// TaskType is an event's type, which is its task's.
	TaskType = attribute.Key("outboxd.event.type")
)

// Asynq names what tasks go through. OpenTelemetry's conventions have no name for it.
var Asynq = semconv.MessagingSystemKey.String("asynq")
