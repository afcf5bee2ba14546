package command

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outboxd/app/daemon"
	"outboxd/handler/monitor"
)

const promisedPath = "testdata/promised.txt"

var breakPromises = flag.Bool("break-promises", false, "with -update: also drop from the list what is no longer there")

// TestPromises compares what other programs rely on with a recorded list. make generate
// adds to the list what is new. It does not drop what is gone or changed: that is for
// the next major version, as docs/reference/compatibility.md says.
func TestPromises(t *testing.T) {
	t.Parallel()
	now := slices.Concat(promisedOptions(), promisedCommands(), promisedFunctions(t), promisedColumns(t), promisedMetrics(t), promisedJSON(), promisedModule(t))
	slices.Sort(now)
	now = slices.Compact(now)
	for _, kind := range []string{"option ", "command ", "function ", "column ", "metric ", "json ", "go "} {
		if !slices.ContainsFunc(now, func(line string) bool { return strings.HasPrefix(line, kind) }) {
			t.Errorf("found none of the kind %q: the test reads the wrong place", kind)
		}
	}
	text, err := os.ReadFile(promisedPath)
	if err != nil && !*update {
		t.Fatal(err)
	}
	recorded := strings.Split(strings.TrimSpace(string(text)), "\n")
	var gone, came []string
	for _, line := range recorded {
		if line != "" && !slices.Contains(now, line) {
			gone = append(gone, line)
		}
	}
	for _, line := range now {
		if !slices.Contains(recorded, line) {
			came = append(came, line)
		}
	}
	if *update && (len(gone) == 0 || *breakPromises) {
		if err := os.WriteFile(promisedPath, []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(gone) > 0 {
		t.Errorf("programs of others may rely on this, and it is gone or changed:\n  %s\nKeep it for this major version, see docs/reference/compatibility.md. If it was never released: go test ./app/command -run '^TestPromises$' -update -break-promises",
			strings.Join(gone, "\n  "))
	}
	if len(came) > 0 && !*update {
		t.Errorf("this is new, and will be a promise:\n  %s\nRecord it: make generate", strings.Join(came, "\n  "))
	}
}

// promisedOptions are the daemon's options, with their types and defaults. Their
// variables and keys follow from their names.
func promisedOptions() (lines []string) {
	New(nil, daemon.Build{}).PersistentFlags().VisitAll(func(f *pflag.Flag) {
		lines = append(lines, fmt.Sprintf("option --%s %s default %s", f.Name, f.Value.Type(), strconv.Quote(f.DefValue)))
	})
	return lines
}

// promisedCommands are the commands, and the flags that each has besides the daemon's
// options.
func promisedCommands() (lines []string) {
	leaves(New(nil, daemon.Build{}), func(cmd *cobra.Command) {
		if strings.HasPrefix(cmd.CommandPath(), "outboxd bench") { // its figures are for people
			return
		}
		lines = append(lines, "command "+cmd.CommandPath())
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				lines = append(lines, fmt.Sprintf("command %s --%s %s", cmd.CommandPath(), f.Name, f.Value.Type()))
			}
		})
	})
	return lines
}

// promisedFunctions are the functions of the database that producers and consumers call:
// those without the prefix of outboxd's own, and those that the Go module names, because a
// service may have an older version of the module than the database.
func promisedFunctions(t *testing.T) (lines []string) {
	begin := regexp.MustCompile(`CREATE FUNCTION ([a-z_]+)\(`)
	result := regexp.MustCompile(`^\s*RETURNS (TABLE \([^)]*\)|[a-z0-9\[\] ]+?)\s*(\n|LANGUAGE|$)`)
	module := regexp.MustCompile(`\boutbox_[a-z_]+`).FindAllString(strings.Join(readAll(t, "../../client/consumer/*.go"), ""), -1)
	for _, text := range readAll(t, "../../migrations/*.sql") {
		for _, at := range begin.FindAllStringSubmatchIndex(text, -1) {
			name := text[at[2]:at[3]]
			if strings.HasPrefix(name, "outbox_") && !slices.Contains(module, name) {
				continue
			}
			end, depth := at[1], 1
			for ; depth > 0; end++ {
				switch text[end] {
				case '(':
					depth++
				case ')':
					depth--
				}
			}
			returns := result.FindStringSubmatch(text[end:])
			if returns == nil {
				t.Fatalf("what %s returns cannot be read", name)
			}
			lines = append(lines, strings.Join(strings.Fields("function "+name+"("+text[at[1]:end]+" RETURNS "+returns[1]), " "))
		}
	}
	return lines
}

// promisedColumns are the columns of the outbox that producers may write.
func promisedColumns(t *testing.T) (lines []string) {
	grant := regexp.MustCompile(`GRANT INSERT \(([^)]*)\) ON outbox TO outboxd_producer`)
	for _, text := range readAll(t, "../../deploy/postgres/grants.sql") {
		for _, columns := range grant.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(columns[1], ",") {
				lines = append(lines, "column outbox."+strings.TrimSpace(name))
			}
		}
	}
	return lines
}

// readAll returns the contents of the files that match pattern, except Go's tests.
func readAll(t *testing.T, pattern string) (texts []string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file like %s: %v", pattern, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// promisedMetrics are the metrics with their labels.
func promisedMetrics(t *testing.T) (lines []string) {
	for _, folder := range []string{"../../handler", "../../jobs", "../../relay", "../../repository", "../../app/daemon"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				lines = append(lines, metricsOf(file)...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// promisedJSON are the fields of what /readyz answers and of what each command prints.
func promisedJSON() (lines []string) {
	for _, d := range append(documentsOf, document{"/readyz", monitor.Readiness{}}) {
		for name := range strings.SplitSeq(d.commands, ", ") {
			visitFields(d.value, func(path, kind string, field reflect.StructField, _ string) {
				if _, options, _ := strings.Cut(field.Tag.Get("json"), ","); field.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omit") {
					kind += " or null"
				}
				lines = append(lines, fmt.Sprintf("json %s %s: %s", name, path, kind))
			})
		}
	}
	return lines
}

var metricNames = regexp.MustCompile(`^outboxd_(build|http|relay|worker|delivery)_[a-z_]+$`)

// metricsOf returns the metrics that a file makes: calls whose first argument is the
// name, or options with the name in them, with the labels behind.
func metricsOf(file *ast.File) (lines []string) {
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		name, labels := stringOf(call.Args[0]), call.Args[1:]
		if options, ok := call.Args[0].(*ast.CompositeLit); ok {
			for _, element := range options.Elts {
				if pair, ok := element.(*ast.KeyValueExpr); ok && fmt.Sprint(pair.Key) == "Name" {
					name = stringOf(pair.Value)
				}
			}
		} else if len(labels) > 0 {
			labels = labels[1:] // the help
		}
		if !metricNames.MatchString(name) {
			return true
		}
		var names []string
		for _, label := range labels {
			if list, ok := label.(*ast.CompositeLit); ok {
				for _, element := range list.Elts {
					names = append(names, stringOf(element))
				}
			} else if text := stringOf(label); text != "" {
				names = append(names, text)
			}
		}
		lines = append(lines, fmt.Sprintf("metric %s{%s}", name, strings.Join(names, ",")))
		return true
	})
	return lines
}

func stringOf(e ast.Expr) string {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		text, _ := strconv.Unquote(literal.Value)
		return text
	}
	return ""
}

// promisedModule is what the module client exports: functions, methods, types with
// their fields, constants and variables.
func promisedModule(t *testing.T) (lines []string) {
	root := "../../client"
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		place, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil || file.Name.Name == "main" {
			return err
		}
		for _, declaration := range file.Decls {
			for _, line := range exported(fset, declaration) {
				lines = append(lines, strings.TrimSuffix("go client/"+place, "/.")+" "+line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func exported(fset *token.FileSet, declaration ast.Decl) (lines []string) {
	text := func(node any) string {
		var printed bytes.Buffer
		_ = printer.Fprint(&printed, fset, node) // a buffer takes all
		return strings.Join(strings.Fields(printed.String()), " ")
	}
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		receiver := ""
		if d.Recv != nil {
			receiver = "(" + text(d.Recv.List[0].Type) + ") "
		}
		if d.Name.IsExported() && !regexp.MustCompile(`^\(\*?[a-z]`).MatchString(receiver) {
			lines = append(lines, "func "+receiver+d.Name.Name+strings.TrimPrefix(text(d.Type), "func"))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() {
						lines = append(lines, d.Tok.String()+" "+name.Name)
					}
				}
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					continue
				}
				fields, isStruct := s.Type.(*ast.StructType)
				if !isStruct {
					lines = append(lines, "type "+s.Name.Name+" "+strings.SplitN(text(s.Type), "{", 2)[0])
					continue
				}
				lines = append(lines, "type "+s.Name.Name+" struct")
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						if name.IsExported() {
							lines = append(lines, "type "+s.Name.Name+" struct "+name.Name+" "+text(field.Type))
						}
					}
				}
			}
		}
	}
	return lines
}
