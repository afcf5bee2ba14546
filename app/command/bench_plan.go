package command

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/bench/costing"
	"outboxd/app/bench/env"
	"outboxd/app/bench/plan"
	"outboxd/app/bench/result"
	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
)

const aboutPlan = `Print what each event costs, which part of the installation is full first at 1,000, 10,000 and 100,000
events/s and at --rate, and what lifts that limit.

The costs are measured first, within about a minute: events with a small and with a large payload go from the producer's
INSERT through the relay to a worker, whose handler has no effect of its own. What your handlers write to the database
is not in the figures. --assume=recorded measures nothing and takes costs that were recorded on another machine;
--assume=FILE takes those of an earlier "bench plan -o json".

The capacities are those of the machines that you will have: one for PostgreSQL, one for Redis and one for each relay
and each worker process. How often a relay goes to its servers is taken from --relay-concurrency and
--relay-batch-size. Nothing here knows how your queues are used: a limit of Redis can be lifted only if the events go
to several queues.`

// recorded is the value of --assume for costs that were recorded on another machine.
const recorded = "recorded"

// planFlags are the flags of bench plan.
type planFlags struct {
	plan.Question
	events int
	assume string
}

func newBenchPlanCommand(c cli.Commands, flags *benchFlags) *cobra.Command {
	var p planFlags
	cmd := &cobra.Command{
		Use: "plan", Short: "What events cost, and which limit comes first at a rate", Long: aboutPlan, Args: cli.NoArguments,
		Example: "  outboxd bench plan --rate 50000 --payload 400\n  outboxd bench plan --rate 50000 --assume recorded -o json",
	}
	f := cmd.Flags()
	f.Float64Var(&p.Rate, "rate", 10_000, "events per second")
	f.IntVar(&p.Payload, "payload", 400, "bytes of payload in each event")
	f.IntVar(&p.events, "events", 20_000, "events to measure with")
	f.StringVar(&p.assume, "assume", "", "do not measure: \"recorded\", or a file with the output of bench plan -o json")
	f.IntVar(&p.Cores, "cores", 8, "processors of each machine")
	f.DurationVar(&p.RTT, "rtt", 500*time.Microsecond, "round trip from a relay to PostgreSQL and to Redis")
	f.Float64Var(&p.DiskMB, "disk-mb", 200, "megabytes per second that PostgreSQL's disk writes")
	f.Float64Var(&p.DiskFlushes, "disk-flushes", 5000, "flushes per second that PostgreSQL's disk does")
	f.Float64Var(&p.NetworkMB, "network-mb", 125, "megabytes per second that the network of a machine carries")
	f.Float64Var(&p.RedisMemoryGB, "redis-memory-gb", 8, "gigabytes of memory for Redis")
	f.DurationVar(&p.Away, "away", 10*time.Minute, "how long consumers may be away, so that tasks wait in Redis")
	f.Float64Var(&p.Share, "share", 0.7, "part of each capacity that may be used")
	out := &terminal.Output{}
	out.AddFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return printPlan(c, cmd, *flags, &p, out) }
	return cmd
}

func printPlan(c cli.Commands, cmd *cobra.Command, flags benchFlags, p *planFlags, out *terminal.Output) error {
	if err := out.Check(); err != nil {
		return err
	}
	// As for the other benchmarks, the configured roles do not matter.
	if err := config.Replace(cmd.Flags(), "roles", string(config.RoleRelay)); err != nil {
		return config.Mistake{Err: err}
	}
	cfg, err := c.Load(cmd)
	if err == nil {
		err = cli.RequireOne(cmd, cfg)
	}
	if err != nil {
		return err
	}
	p.Pollers, p.Batch = cfg.Relay.Concurrency, cfg.Relay.BatchSize
	if err := p.Check(); err != nil {
		return config.Mistake{Err: err}
	}
	costs, err := costsOf(c, cmd, flags, p)
	if err != nil {
		return err
	}
	made := plan.Make(p.Question, costs)
	return out.Write(cmd.OutOrStdout(), made, made.Write)
}

// costsOf returns the costs of events: those that --assume names, or measured ones.
func costsOf(c cli.Commands, cmd *cobra.Command, flags benchFlags, p *planFlags) (costs plan.Measured, err error) {
	switch p.assume {
	case recorded:
		return plan.Recorded(), nil
	case "":
		_, err := measureBench(c, cmd, flags, func(ctx context.Context, e *env.Env) (*result.Report, error) {
			var notes []string
			costs, notes, err = costing.Measure(ctx, e, p.events, p.Payload)
			for _, note := range notes {
				fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			return nil, err
		})
		return costs, err
	}
	file, err := os.Open(p.assume)
	if err != nil {
		return costs, fmt.Errorf("open the costs of --assume: %w", err)
	}
	defer file.Close()
	if costs, err = plan.Read(file); err != nil {
		return costs, fmt.Errorf("--assume %s: %w", p.assume, err)
	}
	return costs, nil
}
