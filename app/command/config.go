package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// configDocument is the effective configuration as JSON has it.
type configDocument struct {
	Settings []settingDocument `json:"settings"`
}

type settingDocument struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // masked, if it is a secret
	Origin string `json:"origin"`
}

func (c commands) newConfigCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, secrets masked, and where each value came from",
		Long: `Print the effective configuration, secrets masked, and where each value came from.

YAML is the default here, since it is a configuration file: outboxd reads it again, but for masked values.`,
		Example: `  outboxd config
  outboxd config -o table --roles=relay`,
		Args: noArguments,
	}
	out.addFlag(cmd)
	out.prefer(cmd, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(); err != nil {
			return err
		}
		cfg, err := c.load(cmd)
		if err != nil {
			return err
		}
		if out.format == formatYAML {
			return cfg.WriteYAML(cmd.OutOrStdout())
		}
		document := configDocument{Settings: []settingDocument{}}
		for _, s := range cfg.Settings() {
			document.Settings = append(document.Settings, settingDocument(s))
		}
		return out.write(cmd.OutOrStdout(), document, func(w io.Writer) {
			fmt.Fprintln(w, "KEY\tVALUE\tFROM")
			for _, s := range document.Settings {
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, orDash(oneLine(s.Value, 0)), oneLine(s.Origin, 0))
			}
		})
	}
	return cmd
}
