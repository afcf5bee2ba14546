// Package bench measures outboxd on its user's own machine: how fast the relay
// drains a backlog, how soon an event gets through, and what it costs.
//
// Every benchmark compares arms within one run and reports ratios, because
// figures of different machines, or of one machine at different times, do not
// compare. It touches nothing but a schema and a Redis database of its own, which
// package env makes.
package bench

import (
	"context"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// Bench is one benchmark of the command line.
type Bench struct {
	Name  string // of the subcommand and in the report
	Short string // one line of help
	Long  string // what is compared, and what a ratio means
	// Prepare adds the benchmark's flags and returns what runs it once they
	// are parsed.
	Prepare func(flags *pflag.FlagSet) Run
}

// Run measures and reports. It leaves the environment for Env.Close to clear.
type Run func(ctx context.Context, e *env.Env) (*result.Report, error)

// All returns every benchmark, in the order of the help: those of how much the
// relay moves, then those of how soon an event gets through and of what the relay
// costs its producers and, while nothing happens, everybody.
func All() []Bench {
	return []Bench{
		Drain(), Horizon(), Backlog(), Scale(), Overhead(),
		Latency(), Producer(), Idle(), Network(), Soak(),
	}
}
