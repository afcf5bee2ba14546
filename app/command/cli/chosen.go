package cli

import (
	"slices"

	"github.com/spf13/cobra"
)

// choosesAll are values of a flag that let everything pass: no text, every name, no header, no duration.
var choosesAll = []string{"", "*", "=", "0s"}

// Chosen returns those of the named flags that were set, with their values, for the log of actions. It leaves out a
// flag whose value lets everything pass, so that a command which must be told what to change does not take such a
// flag for a choice: nothing chosen is not everything.
func Chosen(cmd *cobra.Command, names ...string) map[string]string {
	said := map[string]string{}
	for _, name := range names {
		flag := cmd.Flags().Lookup(name)
		if flag != nil && flag.Changed && !slices.Contains(choosesAll, flag.Value.String()) {
			said[name] = flag.Value.String()
		}
	}
	return said
}
