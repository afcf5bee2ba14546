package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"outboxd/config"
	"outboxd/domain/words"
)

// The output formats of a command's result.
const (
	FormatTable = "table" // for people
	FormatJSON  = "json"  // one document
	FormatYAML  = "yaml"  // the same document
)

// Output is the flag -o and its value.
type Output struct {
	Format string
	forms  []string // nil: table, json and yaml
}

// AddFlag gives a command the flag -o.
func (o *Output) AddFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.Format, "output", "o", FormatTable, "form of the result: table, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{FormatTable, FormatJSON, FormatYAML}, cobra.ShellCompDirectiveNoFileComp))
}

// AddFormsFlag gives a command the flag -o with forms of its own; the first one is the
// default. Write does not know these forms, so the command has to write the result itself.
func (o *Output) AddFormsFlag(cmd *cobra.Command, forms ...string) {
	o.forms = forms
	cmd.Flags().StringVarP(&o.Format, "output", "o", forms[0], "form of the result: "+strings.Join(forms, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

// Prefer gives the flag -o another default.
func (o *Output) Prefer(cmd *cobra.Command, format string) {
	o.Format = format
	cmd.Flags().Lookup("output").DefValue = format
}

// Check refuses an unknown form. A command calls Check before it does anything.
func (o *Output) Check() error {
	if o.forms != nil {
		if !slices.Contains(o.forms, o.Format) {
			return config.Mistake{Err: fmt.Errorf("-o %s: the forms are %s", o.Format, strings.Join(o.forms, " and "))}
		}
		return nil
	}
	switch o.Format {
	case FormatTable, FormatJSON, FormatYAML:
		return nil
	default:
		return config.Mistake{Err: fmt.Errorf("-o %s: the forms are table, json and yaml", o.Format)}
	}
}

// Write prints a result in the chosen form. For JSON and YAML, Write encodes value, with
// the names of its json tags in both. For a table, Write calls the function table, which
// separates columns by tabs.
func (o *Output) Write(w io.Writer, value any, table func(w io.Writer)) error {
	switch o.Format {
	case FormatJSON:
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case FormatYAML:
		return WriteYAML(w, value)
	default:
		aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		table(aligned)
		return aligned.Flush()
	}
}

// WriteYAML encodes value as YAML, with the names and the order of its JSON form.
// WriteYAML first encodes value as JSON, which is valid YAML.
func WriteYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	blockStyle(&document)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

// blockStyle rewrites JSON as usual YAML: without brackets, except those of empty lists and
// maps, and with quotation marks only where YAML needs them.
func blockStyle(node *yaml.Node) {
	if len(node.Content) > 0 {
		node.Style = 0
	} else if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		node.Style = 0
	}
	for _, child := range node.Content {
		blockStyle(child)
	}
}

// OneLine makes any text fit into a cell of a table. OneLine replaces control characters by
// spaces, because a terminal would act on them, makes one space of several, and cuts the
// text to limit characters; 0 means no cut.
func OneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if limit > 0 && utf8.RuneCountInString(text) > limit {
		return words.Cut(text, limit-1)
	}
	return text
}

// Instant formats a time for people, in UTC, to the second. The zero time becomes
// "-".
func Instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
