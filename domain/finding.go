package domain

import (
	"slices"
	"strings"
)

// Finding is something about a server that works today and may not keep a
// promise tomorrow.
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
	FindingWarning FindingLevel = "warning" // a promise may be broken
	FindingNote    FindingLevel = "note"    // it costs something, or could not be found out
)

// String returns the finding in one line.
func (f Finding) String() string {
	parts := slices.DeleteFunc([]string{f.Code + ": " + f.Found, f.Consequence, f.Remedy}, func(part string) bool { return part == "" })
	return strings.Join(parts, "; ")
}

// Warnings returns the lines of those findings that are warnings.
func Warnings(findings []Finding) []string {
	var lines []string
	for _, f := range findings {
		if f.Level == FindingWarning {
			lines = append(lines, f.String())
		}
	}
	return lines
}
