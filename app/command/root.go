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

	"outboxd/app/bench"
	"outboxd/app/daemon"
	"outboxd/app/logging"
	"outboxd/config"
)

const about = `outboxd relays events from a PostgreSQL outbox to Asynq (Redis).

A service writes an event in the same transaction as its own rows; outboxd hands
it to Asynq, once, no matter what dies in between.

Without a database URL and a Redis URL it runs servers of its own:

  outboxd                                            everything, for development
  outboxd --roles=relay --relay-concurrency=4        one role, in production

Every flag is also a variable (--relay-concurrency is OUTBOXD_RELAY_CONCURRENCY)
and a key of a YAML file (relay: {concurrency: 4}). A flag beats a variable,
a variable beats the file.

Commands end with 0 when it is done; with 1 when it failed, or when what they look
for was found (doctor, verify); with 2 when the command line or the configuration
is wrong, or --yes is missing.`

// commands has what all subcommands share.
type commands struct {
	environ []string
	build   daemon.Build
	timeout *time.Duration // how long a server may take to answer
}

// New returns the root command. All commands read the environment variables in environ. The error of a command is a
// config.Mistake if the command line or the configuration is wrong. more are benchmarks in addition
// to outboxd's own.
func New(environ []string, build daemon.Build, more ...bench.Bench) *cobra.Command {
	c := commands{environ: environ, build: build, timeout: new(time.Duration)}
	root := &cobra.Command{
		Use:   "outboxd",
		Short: "Relay events from a PostgreSQL outbox to Asynq",
		Long:  about,
		Example: `  outboxd
  outboxd --roles=relay --relay-concurrency=4
  outboxd doctor`,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          c.run,
	}
	config.AddFlags(root.PersistentFlags())
	root.SetUsageTemplate(briefUsage(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return config.Mistake{Err: fmt.Errorf("%w%s\nRun outboxd --help for the list of flags", err, flagSuggestion(cmd, err))}
	})
	root.AddCommand(
		c.newConfigCommand(), c.newEnvCommand(), c.newMigrateCommand(), c.newBenchCommand(more), c.newVersionCommand(),
		c.newDeadCommand(), c.newRedriveCommand(), c.newEventsCommand(), c.newTypesCommand(), c.newQueuesCommand(), c.newWorkersCommand(), c.newKeysCommand(), c.newSubscriptionsCommand(), c.newSchedulesCommand(), c.newActionsCommand(), c.newVerifyCommand(),
		c.newDoctorCommand(), c.newTopCommand(), c.newTokenCommand(),
	)
	c.addTimeout(root)
	addCompletion(root)
	return root
}

// answerTimeout is how long a server may take to answer a command.
const answerTimeout = 5 * time.Second

// addTimeout adds the flag --timeout to all commands that query a server.
func (c commands) addTimeout(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		switch name := sub.Name(); {
		case name == "config", name == "version", name == "bench", name == "token":
		case sub.HasSubCommands():
			c.addTimeout(sub)
		default:
			durationVar(sub.Flags(), c.timeout, "timeout", answerTimeout, "how long PostgreSQL and Redis may take to answer")
		}
	}
}

// briefUsage removes the daemon's options from the help of each subcommand, because
// there are about fifty.
func briefUsage(template string) string {
	return strings.Replace(template, `Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}`, `Every option of the daemon is a flag here too. --database-url, --redis-url, --config and --data-dir
say which system is meant; outboxd --help lists them all.`, 1)
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return config.Mistake{Err: fmt.Errorf("%s takes no argument, and there is no command %q%s\nRun outboxd --help for the list of commands",
		cmd.CommandPath(), args[0], didYouMean("", config.Alike(args[0], names)))}
}

func flagSuggestion(cmd *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return didYouMean("--", config.Alike(unknown.GetSpecifiedName(), names))
}

func didYouMean(prefix string, names []string) string {
	if len(names) == 0 || len(names) > 3 {
		return ""
	}
	return ". Did you mean " + prefix + strings.Join(names, ", or "+prefix) + "?"
}

func (c commands) load(cmd *cobra.Command) (*config.Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	cfg, err := config.Load(cmd.Flags(), c.environ, dir)
	if err != nil {
		return nil, config.Mistake{Err: err}
	}
	return cfg, nil
}

func (c commands) run(cmd *cobra.Command, _ []string) error {
	cfg, err := c.load(cmd)
	if err != nil {
		return err
	}
	outliveReaders()
	d, err := daemon.New(cmd.Context(), cfg, logging.New(cmd.ErrOrStderr(), cfg.Log), c.build)
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
