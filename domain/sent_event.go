package domain

import "time"

// SentEvent is an event that was handed to Redis and is not confirmed.
type SentEvent struct {
	Event  Event
	SentAt time.Time
}
