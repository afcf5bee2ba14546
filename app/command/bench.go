package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/bench"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/logging"
	"outboxd/app/servers"
	"outboxd/config"
)

const aboutBench = `Measure outboxd on this machine, on the configured PostgreSQL and Redis or on outboxd's own.

A benchmark uses a schema and a Redis database of its own. It refuses to use one that is not empty, and
removes what it made. It loads both servers fully, so do not run it beside production. Only figures of
one run can be compared, so most benchmarks have several arms and report ratios of their rates. idle,
latency, plan, soak and effects --suggest report no ratios.`

// benchFlags are common to all benchmarks.
type benchFlags struct {
	schema  string
	redisDB int
	out     terminal.Output
	plot    string
	profile string
}

func newBenchCommand(c cli.Commands, more []spec.Bench) *cobra.Command {
	var flags benchFlags
	parent := cli.Group("bench", "Measure outboxd on this machine", aboutBench)
	parent.PersistentFlags().StringVar(&flags.schema, "schema", "outboxd_bench", "schema to use; must not exist or be empty")
	parent.PersistentFlags().IntVar(&flags.redisDB, "redis-db", 15, "number of the Redis database to use; must be empty")
	parent.PersistentFlags().StringVar(&flags.plot, "plot", "", "also draw the curves into this SVG file, where the benchmark has some")
	parent.PersistentFlags().StringVar(&flags.profile, "cpuprofile", "", "also write a CPU profile of this process into this file, for go tool pprof")
	for _, b := range append(bench.All(), more...) {
		cmd := &cobra.Command{Use: b.Name, Short: b.Short, Long: b.Long, Example: "  outboxd bench " + b.Name + "\n  outboxd bench " + b.Name + " -o json", Args: cli.NoArguments}
		flags.out.AddFlag(cmd)
		run := b.Prepare(cmd.Flags())
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runBench(c, cmd, flags, run) }
		parent.AddCommand(cmd)
	}
	parent.AddCommand(newBenchPlanCommand(c, &flags))
	return parent
}

func runBench(c cli.Commands, cmd *cobra.Command, flags benchFlags, run spec.Run) error {
	if err := flags.out.Check(); err != nil {
		return err
	}
	report, err := measureBench(c, cmd, flags, run)
	if err != nil {
		return err
	}
	if flags.plot != "" {
		if err := writePlot(report, flags.plot); err != nil {
			return err
		}
	}
	switch flags.out.Format {
	case terminal.FormatTable:
		return report.WriteTable(cmd.OutOrStdout())
	case terminal.FormatJSON:
		return report.WriteJSON(cmd.OutOrStdout())
	default:
		return terminal.WriteYAML(cmd.OutOrStdout(), report)
	}
}

// measureBench prepares the environment of a benchmark, runs the benchmark, and clears
// the environment.
func measureBench(c cli.Commands, cmd *cobra.Command, flags benchFlags, run spec.Run) (_ *result.Report, err error) {
	// A benchmark needs the same servers as a relay. The configured roles do not
	// matter.
	if err := config.Replace(cmd.Flags(), "roles", string(config.RoleRelay)); err != nil {
		return nil, config.Mistake{Err: err}
	}
	cfg, err := c.Load(cmd)
	if err == nil {
		err = cli.RequireOne(cmd, cfg)
	}
	if err != nil {
		return nil, err
	}
	// Log only warnings, because the info lines of a relay would hide the figures.
	if cfg.Log.Level == "info" {
		cfg.Log.Level = "warn"
	}
	log := logging.New(cmd.ErrOrStderr(), cfg.Log)
	ctx := cmd.Context()
	s, err := servers.Start(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	if s.Forgetful() {
		return nil, fmt.Errorf("a benchmark needs a Redis, and none is installed: install redis-server or valkey-server, or name one with --redis-url")
	}
	return measureOn(ctx, c, cmd, cfg, s, log, flags, run)
}

func measureOn(ctx context.Context, c cli.Commands, cmd *cobra.Command, cfg *config.Config, s *servers.Servers, log *slog.Logger, flags benchFlags, run spec.Run) (_ *result.Report, err error) {
	e, err := env.New(ctx, env.Options{
		DatabaseURL: s.DatabaseURL, RedisURL: s.RedisURL, RedisDB: flags.redisDB, Schema: flags.schema,
		Config: cfg, Version: c.Build.Version, Log: log, Progress: cmd.ErrOrStderr(),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAfter(ctx, e.Close)) }()
	if flags.profile == "" {
		return run(ctx, e)
	}
	file, err := os.Create(flags.profile)
	if err != nil {
		return nil, fmt.Errorf("write the profile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, fmt.Errorf("write the profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return run(ctx, e)
}

// closePatience is how long a benchmark may take to delete what it made.
const closePatience = 20 * time.Second

// closeAfter calls the function closing with a context of its own, so that the function
// works even if ctx has ended.
func closeAfter(ctx context.Context, closing func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	return closing(ctx)
}

func writePlot(report *result.Report, path string) error {
	if !report.HasCurve() {
		return fmt.Errorf("bench %s has no curve to plot", report.Bench)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	if err := errors.Join(report.WritePlot(file), file.Close()); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}
