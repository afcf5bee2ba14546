package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
)

// configDocument is the effective configuration in JSON.
type configDocument struct {
	Settings []settingDocument `json:"settings"`
}

type settingDocument struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // masked, if it is a secret
	Origin string `json:"origin"`
	// what a value of 0 stands for in this process
	Derived string `json:"derived,omitempty"`
}

func newConfigCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, secrets masked, and where each value came from",
		Long: `Print the effective configuration, secrets masked, and where each value came from.

It is the configuration that this command line, this environment and this file give. A running outboxd
may have another one. To see that, run this command with the flags and variables of the process, in
its folder. The process logs its roles and its configuration file ("outboxd starts") and its limits
("limits of this process") at its start.

YAML is the default here. It is a configuration file that outboxd can read again, except for masked values.`,
		Example: `  outboxd config
  outboxd config -o table --roles=relay`,
		Args: cli.NoArguments,
	}
	out.AddFlag(cmd)
	out.Prefer(cmd, terminal.FormatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		cfg, err := c.Load(cmd)
		if err != nil {
			return err
		}
		if out.Format == terminal.FormatYAML {
			return cfg.WriteYAML(cmd.OutOrStdout())
		}
		document := configDocument{Settings: []settingDocument{}}
		for _, s := range cfg.Settings() {
			document.Settings = append(document.Settings, settingDocument(s))
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) {
			fmt.Fprintln(w, config.HereOnly)
			fmt.Fprintln(w, "KEY\tVALUE\tFROM")
			for _, s := range document.Settings {
				shown := cli.OrDash(terminal.OneLine(s.Value, 0))
				if s.Derived != "" {
					shown += " (" + s.Derived + ")"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, shown, terminal.OneLine(s.Origin, 0))
			}
		})
	}
	return cmd
}
