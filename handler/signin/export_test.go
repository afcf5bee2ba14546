package signin

import (
	"encoding/json"
	"time"

	"outboxd/domain/access"
)

// LocalPath is for tests and fuzzing from outside.
var LocalPath = localPath

// MaxFailures is how many wrong tokens a client may send in a window.
const MaxFailures = maxFailures

// Sessions are the sessions of a process.
type Sessions = sessions

// NewSessions, Issue and Holder export the sessions to tests.
func NewSessions() *Sessions                                        { return newSessions() }
func (s *sessions) Issue(who access.Identity, end time.Time) string { return s.issue(who, end) }
func (s *sessions) Holder(value string, now time.Time) (access.Identity, bool) {
	return s.holder(value, now)
}

// Attempts counts wrong tokens.
type Attempts = attempts

func NewAttempts() *Attempts                                        { return newAttempts() }
func (a *attempts) Wait(client string, now time.Time) time.Duration { return a.wait(client, now) }
func (a *attempts) Failed(client string, now time.Time)             { a.failed(client, now) }

// Remembered is how many clients have failures.
func (a *attempts) Remembered() int { return len(a.clients) }

// PersonOf returns the person whom claims in JSON describe.
func PersonOf(o OIDC, text string) (access.Identity, error) {
	var c claims
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return access.Identity{}, err
	}
	return newProvider(o).person(c)
}
