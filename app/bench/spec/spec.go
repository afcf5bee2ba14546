package spec

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
	// function that runs the benchmark. Call that function after the flags are parsed.
	Prepare func(flags *pflag.FlagSet) Run
}

// Run measures and reports. Env.Close clears the environment afterwards.
type Run func(ctx context.Context, e *env.Env) (*result.Report, error)
