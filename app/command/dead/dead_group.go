package dead

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/words"
	"outboxd/repository/reading"
)

// groupedLetters is how many dead letters the command groups: those that died last.
const groupedLetters = 10_000

// GroupDocument is the result of dead group.
type GroupDocument struct {
	Groups []groupDocument `json:"groups"` // the largest first, at most 100
	// Grouped is how many dead letters were read: those that died last, at most 10,000.
	Grouped int `json:"grouped"`
	// More is true if there may be further groups, or further dead letters that were not read.
	More bool `json:"more"`
	// Fields has names of fields that the payloads have. It is there if none of them has the field of --by-field.
	Fields []string `json:"fields,omitempty"`
}

// groupDocument has a type, an error and a stage, or with --by-field a value.
type groupDocument struct {
	Type  string `json:"type,omitempty"`
	Error string `json:"error,omitempty"` // with # in place of each UUID and number
	Stage string `json:"stage,omitempty"`
	// Value is as in --field: the beginning of a long value ends with a *.
	Value *string `json:"value,omitempty"`
	// Kind stands in place of a value: nested for an object or a list, missing for no value.
	Kind      string    `json:"kind,omitempty"`
	Count     int       `json:"count"`
	FirstDied time.Time `json:"first_died_at"`
	LastDied  time.Time `json:"last_died_at"`

	shown, choice string // the value for people, and the flag that chooses it; "": none does
}

func newDeadGroupCommand(c cli.Commands) *cobra.Command {
	var flags deadFlags
	var out terminal.Output
	var field string
	cmd := &cobra.Command{
		Use:     "group [ID...]",
		Aliases: []string{"groups"},
		Short:   "Count dead letters by type and error, or by a payload field",
		Long: `Count dead letters by type and error. Errors that differ only in UUIDs or numbers are one group, with #
in place of each UUID and number. With --by-field, count them by the values that a field of the JSON
payload has, and print the flag that chooses those of each value. The command reads the 10,000 dead
letters that died last, and with --by-field at most 16 MiB of payloads.`,
		Example: `  outboxd dead group --since 24h
  outboxd dead group --type parcel:announce --by-field carrier`,
	}
	flags.add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().StringVar(&field, "by-field", "", "count by this field of the JSON payload: name, or order.customer")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, c.Looking(func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		filter, _, err := flags.read(cmd, args)
		if err != nil {
			return err
		}
		letters := reading.NewLetters(o.Reads)
		var document GroupDocument
		if cmd.Flags().Changed("by-field") {
			document, err = valuesOf(cmd.Context(), letters, filter, field)
		} else {
			document, err = groupsOf(cmd.Context(), letters, filter)
		}
		if err != nil {
			return err
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { groupTable(w, &document, field) })
	}))
	return cmd
}

func groupsOf(ctx context.Context, letters domain.DeadLetters, filter domain.DeadFilter) (d GroupDocument, err error) {
	groups, more, err := letters.Groups(ctx, filter, groupedLetters)
	d = GroupDocument{Groups: []groupDocument{}, More: more}
	for _, g := range groups {
		d.Groups = append(d.Groups, groupDocument{Type: g.Type, Error: g.ErrorForm, Stage: string(g.Stage), Count: g.Count, FirstDied: g.FirstDied.UTC(), LastDied: g.LastDied.UTC()})
		d.Grouped += g.Count
	}
	return d, err
}

func valuesOf(ctx context.Context, letters domain.DeadLetters, filter domain.DeadFilter, field string) (d GroupDocument, err error) {
	path, err := domain.ParseFieldPath(field)
	if err != nil {
		return d, config.Mistake{Err: fmt.Errorf("--by-field: %w", err)}
	}
	values, err := letters.Values(ctx, filter, path, groupedLetters)
	if err != nil {
		return d, err
	}
	d = GroupDocument{Groups: []groupDocument{}, Grouped: values.Looked, More: values.More || values.Distinct > len(values.Largest)}
	for _, v := range values.Largest {
		d.Groups = append(d.Groups, newValueDocument(&v, field))
	}
	if values.None() {
		d.Fields, err = letters.Fields(ctx, filter)
	}
	return d, err
}

func newValueDocument(v *domain.FieldValue, field string) groupDocument {
	d := groupDocument{Count: v.Count, FirstDied: v.FirstDied.UTC(), LastDied: v.LastDied.UTC(), shown: string(v.Kind)}
	switch v.Kind {
	case domain.FieldMissing:
		d.Kind = "missing"
	case domain.FieldNested:
		d.Kind = "nested"
	default:
		d.Value, d.shown = &v.Value, terminal.OneLine(v.Value, 60)
		if terminal.OneLine(v.Value, 0) != v.Value {
			d.shown = strconv.Quote(words.Cut(v.Value, 60))
		}
	}
	switch condition, out := v.Condition(field); {
	case terminal.OneLine(condition, 0) != condition: // a table cannot have its line breaks and spaces
	case out:
		d.choice = "--not-field " + terminal.ShellWord(condition)
	case condition != "":
		d.choice = "--field " + terminal.ShellWord(condition)
	}
	return d
}

// groupTable prints the groups. The parameter field is the payload field by which they
// are grouped; "" stands for type and error.
func groupTable(w io.Writer, d *GroupDocument, field string) {
	switch {
	case len(d.Groups) == 0:
		fmt.Fprintln(w, "No dead letters.")
	case len(d.Fields) > 0:
		// A flag that chooses all of them would be of no use, and could be taken by mistake.
		fmt.Fprintf(w, "No payload has a value in the field %s. These have: %s\n", terminal.OneLine(field, 60), terminal.OneLine(strings.Join(d.Fields, ", "), 0))
		return
	case field == "":
		fmt.Fprintln(w, "COUNT\tTYPE\tSTAGE\tFIRST\tLAST\tERROR")
	default:
		fmt.Fprintln(w, "COUNT\tVALUE\tFIRST\tLAST\tCHOSEN BY")
	}
	for _, g := range d.Groups {
		columns := []string{words.Count(g.Count), terminal.OneLine(g.Type, 40), g.Stage, terminal.Instant(g.FirstDied), terminal.Instant(g.LastDied), terminal.OneLine(g.Error, 80)}
		if field != "" {
			columns = []string{words.Count(g.Count), g.shown, terminal.Instant(g.FirstDied), terminal.Instant(g.LastDied), cmp.Or(g.choice, "-")}
		}
		fmt.Fprintln(w, strings.Join(columns, "\t"))
	}
	if d.More {
		fmt.Fprintf(w, "There may be more: these are the largest groups of the %s that died last.\n", words.Many(d.Grouped, "dead letter"))
	}
}
