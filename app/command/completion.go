package command

import (
	"github.com/spf13/cobra"

	"outboxd/config"
)

// addCompletion adds shell completion: cobra's command that prints the scripts,
// with instructions, and the possible values of flags that have only a few.
func addCompletion(root *cobra.Command) {
	for flag, values := range config.Choices() {
		// Registering a flag at the root command is enough, because every command
		// inherits the daemon's flags from the root command.
		_ = root.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	examples := map[string]string{
		"bash":       "  source <(outboxd completion bash)",
		"zsh":        "  outboxd completion zsh > \"${fpath[1]}/_outboxd\"",
		"fish":       "  outboxd completion fish > ~/.config/fish/completions/outboxd.fish",
		"powershell": "  outboxd completion powershell | Out-String | Invoke-Expression",
	}
	for _, shell := range completion.Commands() {
		shell.Example = examples[shell.Name()]
	}
}
