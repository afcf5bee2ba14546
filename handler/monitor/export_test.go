package monitor

import (
	"log/slog"
	"time"
)

// LocalPath is for tests and fuzzing from outside.
var LocalPath = localPath

// MaxFailures is how many wrong tokens a client may send in a window.
const MaxFailures = maxFailures

// Sessions are the sessions of a monitor.
type Sessions = sessions

// NewSessions, Issue and Valid export the guard's sessions to tests.
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

// NewReadiness returns a function that runs checks as /readyz does.
func NewReadiness(checks []Check) func() Readiness {
	return newReadiness(Options{Checks: checks}, slog.New(slog.DiscardHandler)).look
}
