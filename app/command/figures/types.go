package figures

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain/figures"
)

// NewTypes returns the command types.
func NewTypes(c cli.Commands) *cobra.Command {
	return cli.Group("types", "Show event types: rates, delays, failures and what waits", "",
		newTypesListCommand(c), newTypesShowCommand(c))
}

// TypeDocument is an event type in JSON and YAML. What is not known is null.
type TypeDocument struct {
	Type    string   `json:"type"`
	Queues  []string `json:"queues"`
	Emitted *int64   `json:"emitted_today"` // of the UTC day
	passedDocument
	cutDocument
	Pending   *int64          `json:"pending"`
	Held      *int64          `json:"held"`
	Failing   *int64          `json:"failing"`
	Dead      *int64          `json:"dead"`
	OldestDue *time.Time      `json:"oldest_due"` // null: none is due, or not known
	History   []pointDocument `json:"history,omitempty"`
}

func newTypeDocument(t *figures.Type, v *figures.View[figures.Type]) TypeDocument {
	stored := v.StoreKnown()
	return TypeDocument{
		Type: t.Name, Queues: append([]string{}, t.Queues...), Emitted: knownNumber(t.Emitted, stored), passedDocument: newPassedDocument(&t.Sum, &v.Seen), cutDocument: newCutDocument(v.Cut),
		Pending: knownNumber(t.Pending, stored), Held: knownNumber(t.Held, stored), Dead: knownNumber(t.Dead, stored),
		Failing: knownNumber(t.Failing, v.QueuesKnown()), OldestDue: timeOrNull(t.OldestDue),
	}
}

// TypeShownDocument is the result of types show.
type TypeShownDocument struct {
	TypeDocument
	missingDocument
}

// TypesDocument is the result of types list.
type TypesDocument struct {
	Types []TypeDocument `json:"types"`
	listDocument
}

func newTypesListCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the event types, the ones with the most to do first",
		Long: `List the event types of which something waits, or was handled within the last hour or emitted today. RATE 5m is
the rate of confirmed events in the last five minutes; FAILED (attempts), DIED and the delays from emitted to handler are of the
last hour. If less was measured, the headings have the shorter time. FAILED is ? where workers of your own try some of the events, because they do not report failed attempts.
PENDING, HELD and DEAD are in PostgreSQL; FAILING are events whose tasks failed and will be tried again.
Tasks that wait for a worker are not here: see outboxd queues list. At most 50,000 events of a state
are counted. The leader measures RATE, FAILED and the delays once a minute.`,
		Example: "  outboxd types list\n  outboxd types list -o json | jq '.types[] | select(.failing > 0)'",
		Args:    cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, _ []string, s *sight) error {
		view := s.Types(cmd.Context())
		d := TypesDocument{
			cli.Documents(view.Lines, func(t *figures.Type) TypeDocument { return newTypeDocument(t, &view) }),
			listDocument{view.Cut.Complete() && !view.Estimated, newMissingDocument(view.Seen)},
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), d, func(w io.Writer) { typesTable(w, &d, &view.Seen) }), d.incomplete())
	})
	return cmd
}

func typesTable(w io.Writer, d *TypesDocument, seen *figures.Seen) {
	if len(d.Types) == 0 {
		fmt.Fprintln(w, "No types.")
	} else {
		fmt.Fprintln(w, "TYPE\tQUEUES\t"+passedColumns(seen.Measurement)+"\tPENDING\tHELD\tFAILING\tDEAD\tOLDEST DUE")
	}
	for i := range d.Types {
		t := &d.Types[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(t.Type, 40), terminal.OneLine(strings.Join(t.Queues, ", "), 30), t.cells(),
			t.cell("pending", t.Pending), t.cell("held", t.Held), cli.Counted(t.Failing), t.cell("dead", t.Dead), ageCell(seen.At, t.OldestDue, t.Pending != nil))
	}
	writeMeasured(w, seen)
	writeUnseen(w, slices.ContainsFunc(d.Types, func(t TypeDocument) bool { return t.unseen() }))
	d.writeEnd(w)
}

func newTypesShowCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "show TYPE",
		Short:   "Show an event type, with its last hour",
		Example: "  outboxd types show email:send_notification",
		Args:    cli.OneArgument("one event type"),
	}
	out.AddFlag(cmd)
	cmd.RunE = withSight(c, &out, func(cmd *cobra.Command, args []string, s *sight) error {
		view := s.Types(cmd.Context())
		line, err := lineOf(&view, "event type", args[0])
		if err != nil {
			return err
		}
		d := TypeShownDocument{newTypeDocument(line, &view), newMissingDocument(view.Seen)}
		if d.History, err = s.historyOf(cmd.Context(), args[0], "", line.Unseen); err != nil {
			return err
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), d, func(w io.Writer) {
			typesTable(w, &TypesDocument{[]TypeDocument{d.TypeDocument}, listDocument{view.Cut.Complete() && !view.Estimated, d.missingDocument}}, &view.Seen)
			writeHistory(w, d.History, "type", d.Type)
		}), d.incomplete())
	})
	return cmd
}
