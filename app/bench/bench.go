// Package bench measures outboxd on its user's own machine: how fast the relay
// drains a backlog, how soon an event gets through, and what it costs.
//
// Every benchmark compares several variants (arms) within one run and reports
// ratios. Figures of different machines, or of one machine at different times,
// cannot be compared.
// A benchmark uses a PostgreSQL schema and a Redis database of its own, which
// package env makes.
package bench

import (
	"context"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// Bench is one benchmark: a subcommand of "outboxd bench".
type Bench struct {
	Name  string // of the subcommand and in the report
	Short string // one line of help
	Long  string // what is compared, and what a ratio means
	// Prepare adds the benchmark's flags to the command and returns the
	// function that runs the benchmark. Call Run once the flags are parsed.
	Prepare func(flags *pflag.FlagSet) Run
}

// Run measures and reports. Env.Close clears the environment afterwards.
type Run func(ctx context.Context, e *env.Env) (*result.Report, error)

// All returns every benchmark in the order of the help: throughput first, then
// latency, then the cost for producers and for an idle system.
func All() []Bench {
	return []Bench{
		Drain(), Horizon(), Backlog(), Scale(), Overhead(), Effects(),
		Latency(), Producer(), Idle(), Network(), Soak(),
	}
}
