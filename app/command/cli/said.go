package cli

import "github.com/spf13/cobra"

// Said returns those of the named flags whose value is not the default, with their values, for the log of actions.
// It does not say whether the flags choose anything: the filter that was read from them does.
func Said(cmd *cobra.Command, names ...string) map[string]string {
	said := map[string]string{}
	for _, name := range names {
		flag := cmd.Flags().Lookup(name)
		if flag != nil && flag.Changed && flag.Value.String() != flag.DefValue {
			said[name] = flag.Value.String()
		}
	}
	return said
}
