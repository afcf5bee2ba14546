package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Said returns those of the named flags whose value is not the default, with their values, for the log of actions.
// The values of a flag that may be repeated have commas between them. Said does not tell whether the flags
// leave anything out: for that, call Narrows of the filter that was read from them (lives.Filter, domain.DeadFilter).
func Said(cmd *cobra.Command, names ...string) map[string]string {
	said := map[string]string{}
	for _, name := range names {
		flag := cmd.Flags().Lookup(name)
		if flag != nil && flag.Changed && flag.Value.String() != flag.DefValue {
			said[name] = valueOf(flag)
		}
	}
	return said
}

// valueOf returns a flag's value as a person wrote it, without the brackets that pflag sets around a list.
func valueOf(flag *pflag.Flag) string {
	if list, repeated := flag.Value.(pflag.SliceValue); repeated {
		return strings.Join(list.GetSlice(), ", ")
	}
	return flag.Value.String()
}
