package domain

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Finding describes one problem that outboxd found, or a condition that may lead to one. Package diagnosis lists
// all kinds of findings.
type Finding struct {
	Code  string // short and stable, such as "redis-evicts", for searching and for machines
	Level FindingLevel
	// Found, Consequence and Remedy are sentences without a full stop: what was found, what follows from it, and
	// which command or setting corrects it. Everyone with access to a page or probe can read them, so they contain no
	// secret and no address of a server. Found may quote an error, such as that of a failing task.
	Found, Consequence, Remedy string
	// Outage says that the server serves nobody at present, so everything that uses the server notices the problem. It
	// is false for a problem that only some uses of the server have, such as a missing right.
	Outage bool
	// Queues names the queues of a finding about single queues. Newer facts about them can disprove the finding.
	Queues []string
	// CheckedAt is when a repeated check began that made the finding, by the clock of this process. It is zero if the
	// facts are of this moment.
	CheckedAt time.Time
}

// CodeRedisUnreachable is the code of the finding for an error of a connection to Redis. One such error does not prove an
// outage: a single command may take too long at any time.
const CodeRedisUnreachable = "redis-unreachable"

// FindingLevel says how much a Finding matters.
type FindingLevel string

// The levels, the worst first.
const (
	FindingBroken  FindingLevel = "broken"  // events do not move, or not in time: act now
	FindingWarning FindingLevel = "warning" // outboxd works, but a promise may be broken
	FindingNote    FindingLevel = "note"    // a condition that costs something, or a check that was not possible
)

// String returns the finding in one line.
func (f Finding) String() string {
	parts := slices.DeleteFunc([]string{f.Code + ": " + f.Found, f.Consequence, f.Remedy}, func(part string) bool { return part == "" })
	return strings.Join(parts, "; ")
}

// IsProblem reports whether the finding needs action: its level is broken or
// warning.
func (f Finding) IsProblem() bool { return f.Level != FindingNote }

// Warnings returns one line for each finding that is a problem.
func Warnings(findings []Finding) []string {
	var lines []string
	for _, f := range findings {
		if f.IsProblem() {
			lines = append(lines, f.String())
		}
	}
	return lines
}

// Examiner looks at a server for conditions that endanger events. Its methods
// are safe for concurrent use.
type Examiner interface {
	// Examine looks once and returns its findings, the worst first, at most one of each code. If a missing right
	// prevents a check, that is a finding too.
	//
	// Errors: CodeUnavailable if the server cannot be reached; another error if it refuses every check.
	Examine(ctx context.Context) ([]Finding, error)
}

// SortFindings sorts by level, worst first. Findings of one level keep their order.
func SortFindings(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int { return a.Level.rank() - b.Level.rank() })
}

func (l FindingLevel) rank() int {
	switch l {
	case FindingBroken:
		return 0
	case FindingWarning:
		return 1
	default:
		return 2
	}
}
