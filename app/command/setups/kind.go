package setups

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
)

// store changes the things of one kind, subscriptions or schedules, each by its name.
type store interface {
	Pause(ctx context.Context, action *domain.Action, name string) error
	Resume(ctx context.Context, action *domain.Action, name string) error
	Remove(ctx context.Context, action *domain.Action, name string) error
}

// kind is what people set up: subscriptions or schedules.
type kind struct {
	noun    string // "subscription", also for the record
	example string // arguments of an example
	open    func(o *cli.Opened) store
	find    func(ctx context.Context, o *cli.Opened, name string) error // an error if there is none of that name
}

// change is one change of a kind, such as pausing.
type change struct {
	verb, done  string // "pause", "paused"
	short, long string // of the help
	do          func(s store, ctx context.Context, action *domain.Action, name string) error
}

// group returns the command for a kind, with a command for each change.
func (k kind) group(c cli.Commands, short string, others []*cobra.Command, changes ...change) *cobra.Command {
	group := cli.Group(k.noun+"s", short, "", others...)
	for _, change := range changes {
		group.AddCommand(k.changeCommand(c, change))
	}
	return group
}

// listCommand returns the command list of a kind. The function document makes the document of an entry, and the
// function whole makes the command's result of all documents. The function table prints the documents; it is not
// called if there are none.
func listCommand[T, D any](c cli.Commands, nouns string, list func(context.Context, *cli.Opened) ([]T, error), document func(*T) D, whole func([]D) any, table func(io.Writer, []D)) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the " + nouns,
		Example: "  outboxd " + nouns + " list",
		Args:    cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, _ []string, o *cli.Opened) error {
		all, err := list(cmd.Context(), o)
		if err != nil {
			return err
		}
		documents := cli.Documents(all, document)
		return out.Write(cmd.OutOrStdout(), whole(documents), func(w io.Writer) {
			if len(documents) == 0 {
				fmt.Fprintln(w, "No "+nouns+".")
				return
			}
			table(w, documents)
		})
	}))
	return cmd
}

// showCommand returns the command show of a kind. find returns the document of a name.
func showCommand[D any](c cli.Commands, noun, example string, find func(ctx context.Context, o *cli.Opened, name string) (D, error), table func(io.Writer, *D)) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a " + noun,
		Example: "  outboxd " + noun + "s show " + example,
		Args:    cli.OneArgument("one name of a " + noun),
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		d, err := find(cmd.Context(), o, args[0])
		if err != nil {
			return err
		}
		return out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { table(w, &d) })
	}))
	return cmd
}

// ChangedDocument is what was done to one subscription or schedule.
type ChangedDocument struct {
	Name   string `json:"name"`
	Change string `json:"change"` // paused, resumed or removed
}

func (k kind) changeCommand(c cli.Commands, change change) *cobra.Command {
	var out terminal.Output
	var flags cli.ActionFlags
	cmd := &cobra.Command{
		Use:     change.verb + " NAME",
		Short:   change.short,
		Long:    change.long,
		Example: "  outboxd " + k.noun + "s " + change.verb + " " + k.example,
		Args:    cli.OneArgument("one name of a " + k.noun),
	}
	out.AddFlag(cmd)
	flags.Add(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		name := args[0]
		if err := k.find(cmd.Context(), o, name); err != nil {
			return err
		}
		if err := flags.Consent(change.verb + " the " + k.noun); err != nil {
			return err
		}
		if err := change.do(k.open(o), cmd.Context(), flags.Action(map[string]string{k.noun: name}), name); err != nil {
			return err
		}
		return out.Write(cmd.OutOrStdout(), ChangedDocument{name, change.done}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", name, change.done) })
	})
	return cmd
}
