package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
)

type versionDocument struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"`
}

func newVersionCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  outboxd version\n  outboxd version -o json | jq -r .commit",
		Args:    cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.Check(); err != nil {
				return err
			}
			return out.Write(cmd.OutOrStdout(), versionDocument(c.Build), func(w io.Writer) {
				fmt.Fprintf(w, "outboxd %s (%s, %s)\n", c.Build.Version, c.Build.Commit, c.Build.Date)
			})
		},
	}
	out.AddFlag(cmd)
	return cmd
}
