package command

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/words"
	"outboxd/repository/deadletters"
)

func newActionsCommand(c cli.Commands) *cobra.Command {
	return cli.Group("actions", "Show what people did, and why", "",
		newActionsListCommand(c), newActionsShowCommand(c))
}

// actionDocument is a recorded action in JSON and YAML.
type actionDocument struct {
	ID      domain.ID            `json:"id"`
	At      time.Time            `json:"at"`
	Actor   string               `json:"actor"`
	Action  string               `json:"action"`
	Events  int64                `json:"events"` // that it changed
	Reason  string               `json:"reason"`
	Filter  json.RawMessage      `json:"filter"`          // what the person asked the command or the page for
	Outcome domain.ActionOutcome `json:"outcome"`         // done, stopped, interrupted or failed; empty: it is under way, or its process was killed
	Cause   string               `json:"cause,omitempty"` // why the outcome is not done

	ending string
}

func newActionDocument(a *domain.RecordedAction) actionDocument {
	return actionDocument{a.ID, a.At.UTC(), a.Actor, a.Kind, a.Events, a.Reason, json.RawMessage(a.Filter), a.Outcome, a.Cause, a.Ending()}
}

// actionsDocument is the result of actions list.
type actionsDocument struct {
	Actions []actionDocument `json:"actions"`
	// Next is the value of --after for the next page. It is empty if this page has
	// fewer than --limit.
	Next string `json:"next,omitempty"`
}

func newActionsListCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var limit int
	var after string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what people did, the latest first",
		Example: `  outboxd actions list
  outboxd actions list --limit 20 -o json
  outboxd actions list --after 01980000-0000-7000-8000-000000000000`,
		Args: cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "most actions to list, up to 10000")
	cmd.Flags().StringVar(&after, "after", "", "list the actions before this one, by its ID")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, _ []string, o *cli.Opened) error {
		if limit < 1 || limit > 10_000 {
			return config.Mistake{Err: fmt.Errorf("--limit %d: from 1 to 10000", limit)}
		}
		var begin domain.ID
		if after != "" {
			var err error
			if begin, err = domain.ParseID(after); err != nil {
				return config.Mistake{Err: fmt.Errorf("--after: %w", err)}
			}
		}
		list, err := deadletters.New(o.DB).Actions(cmd.Context(), begin, limit)
		if err != nil {
			return err
		}
		d := actionsDocument{Actions: cli.Documents(list, newActionDocument)}
		if len(list) == limit {
			d.Next = list[limit-1].ID.String()
		}
		return out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { actionsTable(w, &d) })
	}))
	return cmd
}

func actionsTable(w io.Writer, list *actionsDocument) {
	if len(list.Actions) == 0 {
		fmt.Fprintln(w, "No actions.")
		return
	}
	fmt.Fprintln(w, "TIME (UTC)\tACTOR\tACTION\tEVENTS\tOUTCOME\tREASON\tASKED FOR")
	for _, d := range list.Actions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", terminal.Instant(d.At), terminal.OneLine(d.Actor, 40), d.Action, words.Count(d.Events), terminal.OneLine(d.ending, 60), terminal.OneLine(d.Reason, 60), terminal.OneLine(string(d.Filter), 80))
	}
	if list.Next != "" {
		fmt.Fprintf(w, "There may be more: --after %s\n", list.Next)
	}
}

func newActionsShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one action",
		Example: "  outboxd actions show 01980000-0000-7000-8000-000000000000",
		Args:    cli.OneArgument("the ID of one action"),
	}
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		id, err := domain.ParseID(args[0])
		if err != nil {
			return config.Mistake{Err: err}
		}
		found, err := deadletters.New(o.DB).Action(cmd.Context(), id)
		if err != nil {
			return err
		}
		d := newActionDocument(found)
		return out.Write(cmd.OutOrStdout(), d, func(w io.Writer) {
			fmt.Fprintf(w, "Action\t%s\nTime\t%s\nActor\t%s\nDone\t%s\nEvents\t%s\nOutcome\t%s\nReason\t%s\nAsked for\t%s\n", d.ID, terminal.Instant(d.At), terminal.OneLine(d.Actor, 0), d.Action,
				words.Count(d.Events), terminal.OneLine(d.ending, 0), terminal.OneLine(d.Reason, 0), terminal.OneLine(string(d.Filter), 0))
		})
	}))
	return cmd
}
