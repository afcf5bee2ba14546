package handler

import (
	"time"

	"golang.org/x/time/rate"
)

// AcceptRequestID is for tests and fuzzing from outside.
var AcceptRequestID = acceptRequestID

// RateLimit is the limiter of the API.
type RateLimit = rateLimit

func NewRateLimit(perMinute int) *RateLimit {
	return &rateLimit{perMinute: perMinute, buckets: make(map[string]*rate.Limiter)}
}

func (l *rateLimit) Take(client string, now time.Time) bool {
	allowed, _, _ := l.take(client, now)
	return allowed
}
func (l *rateLimit) Remembered() int { return len(l.buckets) }
