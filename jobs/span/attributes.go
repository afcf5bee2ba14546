package span

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The attributes of a task in the spans of package publish and package work.
const (
	// Attempt is the number of the attempt, from 1.
	Attempt = attribute.Key("outboxd.task.attempt")
	// TaskType is the type of an event and of its task.
	TaskType = attribute.Key("outboxd.event.type")
)

// Asynq names the messaging system. OpenTelemetry's semantic conventions have no value
// for Asynq.
var Asynq = semconv.MessagingSystemKey.String("asynq")
