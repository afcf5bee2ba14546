package bench

import (
	"context"
	"slices"

	"github.com/spf13/pflag"
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
type Run func(ctx context.Context, e *Env) (*Report, error)

// All returns every benchmark, in the order of the help.
func All() []Bench {
	return slices.Concat(throughput(), responsiveness())
}

// throughput are the benchmarks of how much the relay moves.
func throughput() []Bench {
	return []Bench{Drain(), Horizon(), Backlog(), Scale(), Overhead()}
}
