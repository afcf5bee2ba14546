package command

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"outboxd/app/daemon"
)

const manPath = "../../docs/man"

// go test ./app/command -run TestManPages -update writes the manual pages anew.
var update = flag.Bool("update", false, "write docs/man")

// leaves calls the function visit for the root command, if it runs, and for every runnable command without
// subcommands.
func leaves(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Runnable() && (!cmd.HasSubCommands() || !cmd.HasParent()) {
		visit(cmd)
	}
	for _, sub := range cmd.Commands() {
		leaves(sub, visit)
	}
}

// TestCommandsFollowOneGrammar looks at what every command says of itself.
func TestCommandsFollowOneGrammar(t *testing.T) {
	t.Parallel()
	root := New(nil, daemon.Build{})
	// The daemon and the steps of the schema print no document, and completion scripts
	// have no JSON form.
	silent := []string{"outboxd", "outboxd migrate up", "outboxd migrate down"}
	var names []string
	leaves(root, func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		names = append(names, name)
		if cmd.Short == "" || cmd.Hidden {
			t.Errorf("%s does not say what it is for", name)
		}
		if !strings.HasPrefix(cmd.Example, "  ") || !strings.Contains(cmd.Example, name) {
			t.Errorf("%s has no example of itself, indented by two: %q", name, cmd.Example)
		}
		if strings.HasPrefix(name, "outboxd completion") || slices.Contains(silent, name) {
			return
		}
		if out := cmd.Flags().ShorthandLookup("o"); out == nil || out.Name != "output" {
			t.Errorf("%s has no -o", name)
		}
	})
	for _, want := range []string{"outboxd", "outboxd doctor", "outboxd completion bash", "outboxd migrate status", "outboxd bench drain"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no %s among %q", want, names)
		}
	}
}

// TestManPages keeps docs/man current.
func TestManPages(t *testing.T) {
	t.Parallel()
	pages := manPages(t)
	if *update {
		if err := os.RemoveAll(manPath); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(manPath, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join(manPath, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(manPath)
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, entry := range entries {
		there = append(there, entry.Name())
		if onDisk, err := os.ReadFile(filepath.Join(manPath, entry.Name())); err != nil || !bytes.Equal(onDisk, pages[entry.Name()]) {
			t.Errorf("%s is out of date (%v): make generate", entry.Name(), err)
		}
	}
	if want := slices.Sorted(maps.Keys(pages)); !slices.Equal(there, want) {
		t.Errorf("docs/man holds %q, want %q: make generate", there, want)
	}
}

// manPages renders one page for each command. The date is fixed, because with the date of a build every page
// changes with every build.
func manPages(t *testing.T) map[string][]byte {
	t.Helper()
	root := New(nil, daemon.Build{})
	root.InitDefaultHelpFlag()
	date := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	pages := map[string][]byte{}
	var render func(cmd *cobra.Command)
	render = func(cmd *cobra.Command) {
		cmd.DisableAutoGenTag = true
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		var page bytes.Buffer
		header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &date, Source: "outboxd", Manual: "outboxd"}
		if err := doc.GenMan(cmd, header, &page); err != nil {
			t.Fatal(err)
		}
		pages[name+".1"] = page.Bytes()
		if !cmd.HasParent() {
			// outboxd(1) has the daemon's options, and need not be repeated on every page.
			cmd.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" {
				render(sub)
			}
		}
	}
	render(root)
	return pages
}
