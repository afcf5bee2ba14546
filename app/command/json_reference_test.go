package command

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/dead"
	"outboxd/app/command/events"
	"outboxd/app/command/figures"
	"outboxd/app/command/health"
	"outboxd/app/command/setups"
	"outboxd/app/daemon"
)

const jsonPage = "../../docs/reference/json.md"

// document is the result of commands, whose names are separated by commas.
type document struct {
	commands string
	value    any
}

// documentsOf are the results that commands print with -o json.
var documentsOf = []document{
	{"actions list", actionsDocument{}},
	{"actions show", actionDocument{}},
	{"config", configDocument{}},
	{"dead list", dead.ListDocument{}},
	{"dead group", dead.GroupDocument{}},
	{"dead show, events show", events.EventDocument{}},
	{"dead replay, dead discard, redrive", dead.ChangeDocument{}},
	{"doctor", health.Examination{}},
	{"env", envDocument{}},
	{"events list", events.EventListDocument{}},
	{"events correct", events.CorrectedDocument{}},
	{"events emit", events.EmittedDocument{}},
	{"events cancel, events reschedule, events erase", events.EventChangeDocument{}},
	{"events retry, events give-up", events.FailingChangeDocument{}},
	{"keys list", figures.KeysDocument{}},
	{"keys show", figures.KeyDocument{}},
	{"migrate status", migrationsDocument{}},
	{"queues list", figures.QueuesDocument{}},
	{"queues show", figures.QueueShownDocument{}},
	{"queues pause, queues resume", figures.QueueChangesDocument{}},
	{"schedules list", setups.SchedulesDocument{}},
	{"schedules show", setups.ScheduleDocument{}},
	{"subscriptions list", setups.SubscriptionsDocument{}},
	{"subscriptions show", setups.SubscriptionDocument{}},
	{"schedules apply, subscriptions apply", setups.AppliedListDocument{}},
	{"schedules pause, schedules resume, schedules remove", setups.ChangedDocument{}},
	{"subscriptions pause, subscriptions resume, subscriptions remove", setups.ChangedDocument{}},
	{"subscriptions test", setups.ProbeDocument{}},
	{"subscriptions replay", setups.ReplayCounts{}},
	{"token new", tokenDocument{}},
	{"top", health.TopView{}},
	{"types list", figures.TypesDocument{}},
	{"types show", figures.TypeShownDocument{}},
	{"verify", health.Verification{}},
	{"version", versionDocument{}},
	{"workers list, workers show", figures.WorkersDocument{}},
}

// TestJSONReference keeps the reference of JSON current.
func TestJSONReference(t *testing.T) {
	t.Parallel()
	notes := fieldNotes(t)
	var page strings.Builder
	page.WriteString(`<!-- Generated from the code: go test ./app/command -update -->

# JSON

Commands print these documents with ` + "`-o json`, and the same fields with `-o yaml`" + `. A field marked
*may be missing* is left out if it is empty. ` + "`x[].y`" + ` is the field ` + "`y`" + ` of each entry of the
list ` + "`x`" + `. Times are in RFC 3339, UTC.
`)
	for _, d := range documentsOf {
		fmt.Fprintf(&page, "\n## %s\n\n| field | type | |\n|---|---|---|\n", d.commands)
		visitFields(d.value, func(path, kind string, field reflect.StructField, of string) {
			note := notes[of+"."+field.Name]
			if _, options, _ := strings.Cut(field.Tag.Get("json"), ","); strings.Contains(options, "omit") {
				note = strings.TrimPrefix(strings.TrimSuffix(note, ".")+"; *may be missing*", "; ")
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s |\n", path, kind, strings.ReplaceAll(note, "|", "\\|"))
		})
	}
	if *update {
		if err := os.WriteFile(jsonPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if onDisk, err := os.ReadFile(jsonPage); err != nil || string(onDisk) != page.String() {
		t.Errorf("%s is out of date (%v): make generate", jsonPage, err)
	}
}

// visitFields calls the function visit for each field of a document in JSON: with its path, the kind of its value, the
// field in Go, and the name of the type in Go that has the field.
func visitFields(document any, visit func(path, kind string, field reflect.StructField, of string)) {
	visitFieldsOf(reflect.TypeOf(document), "", visit)
}

func visitFieldsOf(of reflect.Type, prefix string, visit func(path, kind string, field reflect.StructField, of string)) {
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		kind, isList := field.Type, false
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if field.Anonymous && name == "" {
			visitFieldsOf(kind, prefix, visit)
			continue
		}
		if name == "-" || !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if kind.Kind() == reflect.Slice && !isText(kind) && kind != reflect.TypeFor[json.RawMessage]() {
			isList, kind = true, kind.Elem()
		}
		visit(prefix+name, jsonType(kind, isList), field, of.Name())
		if kind.Kind() == reflect.Struct && !isText(kind) {
			inner := prefix + name + "."
			if isList {
				inner = prefix + name + "[]."
			}
			visitFieldsOf(kind, inner, visit)
		}
	}
}

// A list is a field of an object, so that fields can be added beside it.
func TestEachJSONDocumentIsAnObject(t *testing.T) {
	t.Parallel()
	for _, d := range documentsOf {
		if kind := reflect.TypeOf(d.value).Kind(); kind != reflect.Struct {
			t.Errorf("the document of %s is a %s", d.commands, kind)
		}
	}
}

// TestTheJSONOfEachCommandIsInTheReference looks for commands whose documents documentsOf lacks. The exports have forms
// of their own, and the benchmarks' figures are for people.
func TestTheJSONOfEachCommandIsInTheReference(t *testing.T) {
	t.Parallel()
	var known []string
	for _, d := range documentsOf {
		known = append(known, strings.Split(d.commands, ", ")...)
	}
	leaves(New(nil, daemon.Build{}), func(cmd *cobra.Command) {
		name := strings.TrimPrefix(cmd.CommandPath(), "outboxd ")
		if cmd.Flags().Lookup("output") != nil && !strings.HasPrefix(name, "bench ") && !strings.HasSuffix(name, " export") && !slices.Contains(known, name) {
			t.Errorf("the reference of JSON lacks %s", name)
		}
	})
}

func isText(kind reflect.Type) bool {
	return kind.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || reflect.PointerTo(kind).Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func jsonType(kind reflect.Type, isList bool) string {
	name := "object"
	switch {
	case kind == reflect.TypeFor[time.Time]():
		name = "time"
	case isText(kind), kind.Kind() == reflect.String:
		name = "string"
	case kind.Kind() == reflect.Bool:
		name = "boolean"
	case kind.Kind() == reflect.Map:
		name = "object, by " + jsonType(kind.Key(), false)
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Float64:
		name = "number"
	case kind.Kind() == reflect.Interface, kind == reflect.TypeFor[json.RawMessage]():
		name = "any"
	}
	if isList {
		return "list of " + name + "s"
	}
	return name
}

// fieldNotes returns the comments on the fields of the types of this package and of those below it, by type and field.
func fieldNotes(t *testing.T) map[string]string {
	t.Helper()
	notes := map[string]string{}
	here, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(here, below...) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						notes[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return notes
}
