package command

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outboxd/app/bench/spec"
	"outboxd/app/command/cli"
	"outboxd/app/command/dead"
	"outboxd/app/command/events"
	"outboxd/app/command/figures"
	"outboxd/app/command/health"
	"outboxd/app/command/setups"
	"outboxd/app/daemon"
	"outboxd/app/logging"
	"outboxd/config"
)

const about = `outboxd relays events from a PostgreSQL outbox to Asynq (Redis).

A service writes an event in the same transaction as its own rows. outboxd hands
it to Asynq at least once, whatever dies on the way. The inbox lets the event's
effect in the database happen exactly once.

Without a database URL and a Redis URL it runs servers of its own:

  outboxd                                            everything, for development
  outboxd --roles=relay --relay-concurrency=4        one role, in production

Every flag is also a variable (--relay-concurrency is OUTBOXD_RELAY_CONCURRENCY)
and a key of a YAML file (relay: {concurrency: 4}). A flag beats a variable,
a variable beats the file.

A command ends with 0 when it has done its work; with 1 when it failed, or when what it looks
for was found (doctor, verify); with 2 when the command line or the configuration
is wrong, or --yes is missing.`

// New returns the root command. Commands read the environment variables in environ. The error of a command is a
// config.Mistake if the command line or the configuration is wrong. The last parameter has benchmarks in
// addition to outboxd's own.
func New(environ []string, build daemon.Build, more ...spec.Bench) *cobra.Command {
	c := cli.Commands{Environ: environ, Build: build, Timeout: new(time.Duration)}
	root := &cobra.Command{
		Use:   "outboxd",
		Short: "Relay events from a PostgreSQL outbox to Asynq",
		Long:  about,
		Example: `  outboxd
  outboxd --roles=relay --relay-concurrency=4
  outboxd doctor`,
		Args:          cli.NoArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runDaemon(c, cmd) },
	}
	config.AddFlags(root.PersistentFlags())
	root.SetUsageTemplate(briefUsage(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return config.Mistake{Err: fmt.Errorf("%w%s\nRun %s --help for the list of flags", err, flagSuggestion(cmd, err), cmd.CommandPath())}
	})
	root.AddCommand(
		newConfigCommand(c), newEnvCommand(c), newMigrateCommand(c), newBenchCommand(c, more), newVersionCommand(c),
		dead.New(c), newRedriveCommand(c), events.New(c), figures.NewTypes(c), figures.NewQueues(c), figures.NewWorkers(c), figures.NewKeys(c), setups.NewSubscriptions(c), setups.NewSchedules(c), newActionsCommand(c), health.NewVerify(c),
		health.NewDoctor(c), health.NewTop(c), newTokenCommand(),
	)
	addTimeout(c, root)
	addCompletion(root)
	return root
}

// addTimeout adds the flag --timeout to the commands that query a server, except the
// benchmarks.
func addTimeout(c cli.Commands, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		switch name := sub.Name(); {
		case name == "config", name == "env", name == "version", name == "bench", name == "token":
		case sub.HasSubCommands():
			addTimeout(c, sub)
		default:
			cli.DurationVar(sub.Flags(), c.Timeout, "timeout", cli.AnswerTimeout, "how long PostgreSQL and Redis may take to answer")
		}
	}
}

// briefUsage removes the daemon's options from the help of each subcommand, because
// there are too many for a help text.
func briefUsage(template string) string {
	return strings.Replace(template, `Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}`, `Every option of the daemon is a flag here too. --database-url, --redis-url, --config and --data-dir
say which system is meant; outboxd --help lists them all.`, 1)
}

func flagSuggestion(cmd *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return cli.DidYouMean("--", config.Alike(unknown.GetSpecifiedName(), names))
}

func runDaemon(c cli.Commands, cmd *cobra.Command) error {
	cfg, err := c.Load(cmd)
	if err != nil {
		return err
	}
	outliveReaders()
	d, err := daemon.New(cmd.Context(), cfg, logging.New(cmd.ErrOrStderr(), cfg.Log), c.Build)
	if err != nil {
		if cmd.Context().Err() != nil {
			return nil //nolint:nilerr // it was asked to end while it started
		}
		return err
	}
	return d.Run(cmd.Context())
}

// outliveReaders keeps this process alive when the reader of its output ends: a
// write then returns an error. By default SIGPIPE ends a process that writes to a
// closed pipe. This default is right for a command (outboxd events list | head) and
// wrong for a daemon whose log collector restarts. The function catches SIGPIPE
// instead of ignoring it, so that child processes keep the default.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
