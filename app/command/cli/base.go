// Package cli has what several commands share: how a command reads the configuration and opens the servers, flags, and
// cells of tables. It has no command of its own.
package cli

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/daemon"
	"outboxd/config"
)

// Commands has the environment, the build and the time limit that all subcommands use.
type Commands struct {
	Environ []string
	Build   daemon.Build
	Timeout *time.Duration // how long a server may take to answer
}

// AnswerTimeout is the default of --timeout: how long a server may take to answer a command.
const AnswerTimeout = 5 * time.Second

// NoArguments refuses arguments, and suggests a command that an argument may stand for.
func NoArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names, meant []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
		if slices.Contains(c.SuggestFor, args[0]) {
			meant = append(meant, c.Name())
		}
	}
	if meant == nil {
		meant = config.Alike(args[0], names)
	}
	return config.Mistake{Err: fmt.Errorf("%s takes no argument, and there is no command %q%s\nRun outboxd --help for the list of commands",
		cmd.CommandPath(), args[0], DidYouMean("", meant))}
}

// DidYouMean suggests names, each with the prefix. It returns "" for no names and for more
// than three.
func DidYouMean(prefix string, names []string) string {
	if len(names) == 0 || len(names) > 3 {
		return ""
	}
	return ". Did you mean " + prefix + strings.Join(names, ", or "+prefix) + "?"
}

// Load reads the configuration. An error about the configuration is a config.Mistake.
func (c Commands) Load(cmd *cobra.Command) (*config.Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	cfg, err := config.Load(cmd.Flags(), c.Environ, dir, daemon.HandlersOf)
	if err != nil {
		return nil, config.Mistake{Err: err}
	}
	return cfg, nil
}

// Group returns a command whose work is in its subcommands. Without one of them it does what its subcommand list does,
// with the same flags. If it has no subcommand list, it prints its help. The help begins with the long text, or with
// the short one if the long one is "".
func Group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Long: long, Args: NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(commands...)
	for _, sub := range commands {
		if sub.Name() == "list" {
			group.Long = cmp.Or(long, short+".") + "\n\nWithout a command it lists, as list does."
			group.Flags().AddFlagSet(sub.Flags())
			group.RunE = sub.RunE
		}
	}
	return group
}

// OneArgument refuses a command line without exactly one argument. The error message says with the given text what the
// argument is.
func OneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return config.Mistake{Err: fmt.Errorf("%s takes %s\nRun %s --help for an example", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}

// Names refuses a command line without arguments. The parameter what says whose names the arguments are, such as
// "queues". The error message quotes it.
func Names(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return config.Mistake{Err: fmt.Errorf("%s takes the names of %s\nRun %s --help for an example", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}

// How many connections a command needs to examine PostgreSQL and Redis.
const (
	DatabaseConnections = 2
	RedisConnections    = 2
)
