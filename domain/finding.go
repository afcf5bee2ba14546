package domain

import (
	"context"
	"slices"
	"strings"
)

// Finding is something that is wrong, or that may break a promise tomorrow.
// Package diagnosis says what there is to be found.
type Finding struct {
	Code  string // short and stable, such as "redis-evicts", for searching and for machines
	Level FindingLevel
	// What was found, what follows from it, and the command or the setting that
	// mends it: sentences without their full stop. They hold no address and no
	// secret, since they are shown to whoever may ask.
	Found, Consequence, Remedy string
}

// FindingLevel says how much a Finding matters.
type FindingLevel string

// The levels. A note is for those who look closely.
const (
	FindingBroken  FindingLevel = "broken"  // events do not move, or not in time: act now
	FindingWarning FindingLevel = "warning" // it works, and a promise may be broken
	FindingNote    FindingLevel = "note"    // it costs something, or could not be found out
)

// String returns the finding in one line.
func (f Finding) String() string {
	parts := slices.DeleteFunc([]string{f.Code + ": " + f.Found, f.Consequence, f.Remedy}, func(part string) bool { return part == "" })
	return strings.Join(parts, "; ")
}

// IsProblem tells whether the finding needs action: it is broken or a
// warning.
func (f Finding) IsProblem() bool { return f.Level != FindingNote }

// Warnings returns the lines of those findings that are problems.
func Warnings(findings []Finding) []string {
	var lines []string
	for _, f := range findings {
		if f.IsProblem() {
			lines = append(lines, f.String())
		}
	}
	return lines
}

// Examiner looks at a server for what endangers the events. Its methods are safe
// for concurrent use.
type Examiner interface {
	// Examine looks once and returns what it found, the worst first, and at
	// most one finding of a code. What it may not look at is a finding, too.
	//
	// Errors: CodeUnavailable if the server cannot be reached.
	Examine(ctx context.Context) ([]Finding, error)
}

// SortFindings puts the worst first, and leaves the order otherwise as it is.
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
