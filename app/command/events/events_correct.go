package events

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/repository/deadletters"
)

// CorrectedDocument is the result of events correct.
type CorrectedDocument struct {
	ID        domain.ID `json:"id"`       // of the corrected copy
	Corrects  domain.ID `json:"corrects"` // the old event
	Discarded bool      `json:"discarded"`
	ActionID  domain.ID `json:"action_id"` // in outbox_actions
}

func newEventsCorrectCommand(c cli.Commands) *cobra.Command {
	var content emitFlags
	var acting cli.ActionFlags
	var out terminal.Output
	var discard bool
	cmd := &cobra.Command{
		Use:   "correct ID",
		Short: "Emit a copy of an event with another payload, and print its ID",
		Long: `Emit a corrected copy of an event or dead letter: a new event with the same type, queue, headers, options
and ordering key, and the payload that is given. Its header outboxd-corrects names the old event, and the
journal of the old event names the copy. The old event stays as it is; with --discard, which is for a dead
letter, it is discarded in the same transaction. With an ordering key the copy comes after all that wait for
that key.`,
		Example: `  outboxd dead export 01980000-0000-7000-8000-000000000000 -o json | jq -r '.[0].payload' > payload.json
  outboxd events correct 01980000-0000-7000-8000-000000000000 --payload @payload.json --discard --yes --reason "the amount was in cents"`,
		Args: cli.OneArgument("one event ID"),
	}
	cmd.Flags().StringVar(&content.payload, "payload", "", "the payload as JSON, or @FILE, or - for standard input")
	cmd.Flags().BoolVar(&content.raw, "raw", false, "take the payload as it is; without this flag it must be JSON")
	cmd.Flags().BoolVar(&discard, "discard", false, "discard the dead letter that is corrected")
	acting.Add(cmd)
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		ids, err := cli.EventIDs(args)
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("payload") {
			return config.Mistake{Err: fmt.Errorf("say which payload the copy has: --payload")}
		}
		payload, err := content.read(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if !content.raw && !json.Valid(payload) {
			return config.Mistake{Err: fmt.Errorf("the payload is not JSON; --raw takes it as it is")}
		}
		if err := acting.Consent("emit the corrected copy"); err != nil {
			return err
		}
		action := acting.Action(map[string]string{"ids": ids[0].String()})
		copied, err := deadletters.New(o.DB).Correct(cmd.Context(), action, domain.Correction{Of: ids[0], Payload: payload, Discard: discard})
		if err != nil {
			return err
		}
		d := CorrectedDocument{copied, ids[0], discard, action.ID}
		return out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { fmt.Fprintln(w, copied) })
	})
	return cmd
}
