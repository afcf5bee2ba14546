package config

import (
	"fmt"
	"strings"
)

// Fault is the error about one thing that is wrong with a configuration. It
// never holds the value of a secret.
type Fault struct {
	Key      string // in the file, such as "relay.concurrency"; "" where there is none
	Flag     string // such as "--relay-concurrency"; "" where there is none
	Variable string // such as "OUTBOXD_RELAY_CONCURRENCY"; "" where there is none
	Origin   string // where the bad value was set; "" if nowhere
	Problem  string // what is wrong and what to change
}

// Error returns the fault in one line.
func (f Fault) Error() string {
	var names []string
	for _, name := range []string{f.Flag, f.Variable, f.Key} {
		if name != "" {
			names = append(names, name)
		}
	}
	text := strings.Join(names, ", ") + ": " + f.Problem
	if f.Origin != "" {
		text += " (set by " + f.Origin + ")"
	}
	return text
}

// Faults is the error of Load: the list of the faults that Load found.
type Faults []Fault

// Error lists the faults, each on a line of its own.
func (f Faults) Error() string {
	var text strings.Builder
	if len(f) == 1 {
		text.WriteString("the configuration has a fault:")
	} else {
		fmt.Fprintf(&text, "the configuration has %d faults:", len(f))
	}
	for _, fault := range f {
		text.WriteString("\n  - " + fault.Error())
	}
	return text.String()
}

// Unwrap returns the faults one by one, for errors.As.
func (f Faults) Unwrap() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault
	}
	return errs
}
