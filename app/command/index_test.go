package command

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"outboxd/app/daemon"
)

const (
	commandsPage = "../../docs/reference/commands.md"
	indexBegin   = "<!-- Generated from the commands: go test ./app/command -update -->\n"
	indexEnd     = "<!-- End of what is generated -->\n"
)

// TestCommandIndex keeps the table of all commands current in their reference.
func TestCommandIndex(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), indexBegin)
	_, after, ends := strings.Cut(rest, indexEnd)
	if !begins || !ends {
		t.Fatalf("%s has no place for the table of commands", commandsPage)
	}
	current := before + indexBegin + commandIndex() + indexEnd + after
	if *update {
		if err := os.WriteFile(commandsPage, []byte(current), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if current != string(text) {
		t.Errorf("the table of commands in %s is out of date: make generate", commandsPage)
	}
}

// commandIndex is a table with a row for each command. The benchmarks share a row, and so do the
// completion scripts.
func commandIndex() string {
	var table strings.Builder
	table.WriteString("\n| command | what it does |\n|---|---|\n")
	var add func(cmd *cobra.Command)
	add = func(cmd *cobra.Command) {
		name := strings.TrimPrefix(cmd.CommandPath(), "outboxd ")
		if together := name == "bench" || name == "completion"; together || !cmd.HasSubCommands() {
			fmt.Fprintf(&table, "| `%s` | %s |\n", strings.TrimSpace(name+strings.TrimPrefix(cmd.Use, cmd.Name())), strings.ReplaceAll(cmd.Short, "|", "\\|"))
			return
		}
		for _, sub := range cmd.Commands() {
			add(sub)
		}
	}
	for _, cmd := range New(nil, daemon.Build{}).Commands() {
		if !cmd.Hidden && cmd.Name() != "help" {
			add(cmd)
		}
	}
	table.WriteString("\n")
	return table.String()
}
