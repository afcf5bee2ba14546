package command

import (
	"encoding"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"outboxd/app/command/dead"
	"outboxd/app/command/events"
	"outboxd/app/command/figures"
	"outboxd/app/command/health"
	"outboxd/app/command/setups"
)

const jsonPage = "../../docs/reference/json.md"

// documentsOf are the results that commands print with -o json.
var documentsOf = []struct {
	commands string
	value    any
}{
	{"actions list", []actionDocument{}},
	{"actions show", actionDocument{}},
	{"config", configDocument{}},
	{"dead list", dead.ListDocument{}},
	{"dead show, events show", events.EventDocument{}},
	{"dead replay, dead discard, redrive", dead.ChangeDocument{}},
	{"doctor", health.Examination{}},
	{"env", envDocument{}},
	{"events list", events.EventListDocument{}},
	{"events correct", events.CorrectedDocument{}},
	{"events emit", events.EmittedDocument{}},
	{"events cancel, events reschedule, events erase", events.EventChangeDocument{}},
	{"keys list", figures.KeysDocument{}},
	{"migrate status", migrationsDocument{}},
	{"queues list", figures.QueuesDocument{}},
	{"queues show", figures.QueueDocument{}},
	{"schedules list", []setups.ScheduleDocument{}},
	{"schedules show", setups.ScheduleDocument{}},
	{"subscriptions list", []setups.SubscriptionDocument{}},
	{"subscriptions show", setups.SubscriptionDocument{}},
	{"subscriptions apply", []setups.AppliedDocument{}},
	{"subscriptions test", setups.ProbeDocument{}},
	{"subscriptions replay", []setups.ReplayCount{}},
	{"token new", tokenDocument{}},
	{"top", health.TopView{}},
	{"types list", figures.TypesDocument{}},
	{"types show", figures.TypeDocument{}},
	{"verify", health.Verification{}},
	{"version", versionDocument{}},
	{"workers list, workers show", []figures.WorkerDocument{}},
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
		kind, prefix := reflect.TypeOf(d.value), ""
		if kind.Kind() == reflect.Slice {
			kind, prefix = kind.Elem(), "[]."
		}
		writeFields(&page, kind, prefix, notes)
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

func writeFields(page *strings.Builder, of reflect.Type, prefix string, notes map[string]string) {
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		kind, isList := field.Type, false
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if field.Anonymous && name == "" {
			writeFields(page, kind, prefix, notes)
			continue
		}
		if name == "-" || !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if kind.Kind() == reflect.Slice && !isText(kind) {
			isList, kind = true, kind.Elem()
		}
		note := notes[of.Name()+"."+field.Name]
		if strings.Contains(options, "omit") {
			note = strings.TrimPrefix(strings.TrimSuffix(note, ".")+"; *may be missing*", "; ")
		}
		fmt.Fprintf(page, "| `%s%s` | %s | %s |\n", prefix, name, jsonType(kind, isList), strings.ReplaceAll(note, "|", "\\|"))
		if kind.Kind() == reflect.Struct && !isText(kind) {
			inner := prefix + name + "."
			if isList {
				inner = prefix + name + "[]."
			}
			writeFields(page, kind, inner, notes)
		}
	}
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
	case kind.Kind() == reflect.Interface:
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
