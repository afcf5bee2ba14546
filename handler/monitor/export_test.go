package monitor

import "log/slog"

// TaskAction is for tests from outside.
var TaskAction = taskAction

// NewReadiness returns a function that runs checks as /readyz does.
func NewReadiness(checks []Check) func() Readiness {
	return newReadiness(Options{Checks: checks}, slog.New(slog.DiscardHandler)).look
}
