package setups

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/setup"
)

// AppliedDocument is what applying did with one subscription or schedule.
type AppliedDocument struct {
	Name   string                    `json:"name"`
	Change setup.Applied             `json:"change"`
	Replay *setup.SubscriptionReplay `json:"replay,omitempty"`
}

// AppliedListDocument is the result of applying a file.
type AppliedListDocument struct {
	Applied []AppliedDocument `json:"applied"` // one for each subscription or schedule of the file
}

// applyFlags are the flags of a command apply.
type applyFlags struct {
	cli.ActionFlags
	out  terminal.Output
	file string
}

// command returns the command apply for a noun in the plural. apply reads the file and applies it.
func (f *applyFlags) command(c cli.Commands, nouns, long string, apply func(*cobra.Command, *cli.Opened) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "apply",
		Short:   "Add and change " + nouns + " as a file says",
		Long:    long,
		Example: fmt.Sprintf("  outboxd %[1]s apply -f %[1]s.yaml --yes\n  outboxd %[1]s apply -f - --yes < %[1]s.yaml", nouns),
		Args:    cli.NoArguments,
	}
	f.out.AddFlag(cmd)
	f.Add(cmd)
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the file; - is standard input")
	cmd.RunE = c.WithServers(config.RoleAPI, &f.out, func(cmd *cobra.Command, _ []string, o *cli.Opened) error { return apply(cmd, o) })
	return cmd
}

// consent returns an error unless the person agreed with --yes.
func (f *applyFlags) consent(n int, nouns string) error {
	if f.Yes {
		return nil
	}
	return config.Mistake{Err: fmt.Errorf("the file is right, and has %d %s; nothing was done: say --yes to apply them", n, nouns)}
}

func (f *applyFlags) action() *domain.Action { return f.Action(map[string]string{"file": f.file}) }

func (f *applyFlags) write(cmd *cobra.Command, applied []AppliedDocument) error {
	return f.out.Write(cmd.OutOrStdout(), AppliedListDocument{applied}, func(w io.Writer) {
		for _, a := range applied {
			fmt.Fprintf(w, "%s\t%s", a.Name, a.Change)
			if a.Replay != nil {
				fmt.Fprintf(w, "\t%s", replaySaid(a.Replay))
			}
			fmt.Fprintln(w)
		}
	})
}
