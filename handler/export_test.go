package handler

import (
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/time/rate"
)

// The parsers, for tests and fuzzing from outside.
var (
	ParseIdempotencyKey = parseIdempotencyKey
	AcceptRequestID     = acceptRequestID
	LocalPath           = localPath
)

// Occupy takes all slots of a Hasher until release is called.
func (h *Hasher) Occupy() (release func()) {
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	return func() {
		for range cap(h.slots) {
			<-h.slots
		}
	}
}

// Waiting is how many are in the queue or at work.
func (h *Hasher) Waiting() int { return len(h.present) }

// Room is how many the queue and the slots take together.
func (h *Hasher) Room() int { return cap(h.present) }

// MaxFailures is how many wrong tokens a client may send in a window.
const MaxFailures = maxFailures

// Sessions are the sessions of a monitor.
type Sessions = sessions

// NewSessions, Issue and Valid are those of the guard.
func NewSessions() *Sessions                               { return newSessions() }
func (s *sessions) Issue(end time.Time) string             { return s.issue(end) }
func (s *sessions) Valid(value string, now time.Time) bool { return s.valid(value, now) }

// Attempts counts wrong tokens.
type Attempts = attempts

func NewAttempts() *Attempts                                        { return newAttempts() }
func (a *attempts) Wait(client string, now time.Time) time.Duration { return a.wait(client, now) }
func (a *attempts) Failed(client string, now time.Time)             { a.failed(client, now) }

// Remembered is how many clients have failures.
func (a *attempts) Remembered() int { return len(a.clients) }

// DocumentedRoutes are all routes that answer, without middleware.
func DocumentedRoutes(app *fiber.App) []fiber.Route { return app.GetRoutes(true) }

// NewReadiness returns a function that runs checks as /readyz does.
func NewReadiness(checks []Check) func() Readiness {
	return newReadiness(MonitorOptions{Checks: checks}, slog.New(slog.DiscardHandler)).look
}

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
