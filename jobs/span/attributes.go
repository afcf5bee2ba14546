package span

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The attributes of a task in the spans of publishing and working.
const (
	// Attempt counts the attempts of a task, from 1.
	Attempt = attribute.Key("outboxd.task.attempt")
	// TaskType is the type of an event and its task.
	TaskType = attribute.Key("outboxd.event.type")
)

// Asynq names the messaging system. OpenTelemetry's conventions have no name for it.
var Asynq = semconv.MessagingSystemKey.String("asynq")
