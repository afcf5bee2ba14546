package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
)

type versionDocument struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"`
}

func (c commands) newVersionCommand() *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  outboxd version\n  outboxd version -o json | jq -r .commit",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.Check(); err != nil {
				return err
			}
			return out.Write(cmd.OutOrStdout(), versionDocument(c.build), func(w io.Writer) {
				fmt.Fprintf(w, "outboxd %s (%s, %s)\n", c.build.Version, c.build.Commit, c.build.Date)
			})
		},
	}
	out.AddFlag(cmd)
	return cmd
}
