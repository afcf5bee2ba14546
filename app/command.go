package app

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

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
a variable beats the file.`

// commands is what the subcommands share.
type commands struct {
	environ []string
	build   Build
}

func newRootCommand(environ []string, build Build) *cobra.Command {
	c := commands{environ: environ, build: build}
	root := &cobra.Command{
		Use:           "outboxd",
		Short:         "Relay events from a PostgreSQL outbox to Asynq",
		Long:          about,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          c.run,
	}
	config.AddFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nRun outboxd --help for the list of flags", err)}
	})
	root.AddCommand(
		c.newConfigCommand(), c.newMigrateCommand(), c.newBenchCommand(), c.newVersionCommand(),
		c.newDeadCommand(), c.newRedriveCommand(), c.newEventsCommand(), c.newKeysCommand(), c.newVerifyCommand(),
		c.newDoctorCommand(),
	)
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, and there is no command %q\nRun outboxd --help for the list of commands", cmd.CommandPath(), args[0])}
	}
	return nil
}

func (c commands) load(cmd *cobra.Command) (*config.Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	cfg, err := config.Load(cmd.Flags(), c.environ, dir)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

func (c commands) newConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, secrets masked, and where each value came from",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return cfg.WriteYAML(cmd.OutOrStdout())
		},
	}
}

func (c commands) newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "outboxd %s (%s, %s)\n", c.build.Version, c.build.Commit, c.build.Date)
			return err
		},
	}
}

func (c commands) run(cmd *cobra.Command, _ []string) error {
	cfg, err := c.load(cmd)
	if err != nil {
		return err
	}
	daemon, err := New(cmd.Context(), cfg, newLogger(cmd.ErrOrStderr(), cfg.Log), c.build)
	if err != nil {
		if cmd.Context().Err() != nil {
			return nil //nolint:nilerr // asked to end while starting
		}
		return err
	}
	return daemon.Run(cmd.Context())
}
