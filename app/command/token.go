package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/config/value"
	"outboxd/domain/access"
)

// tokenDocument is a new token.
type tokenDocument struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Token string `json:"token"` // shown only now: outboxd does not store it
	Entry string `json:"entry"` // for access.tokens
}

func newTokenCommand() *cobra.Command {
	token := &cobra.Command{
		Use:   "token",
		Short: "Make tokens by which people sign in to the pages",
		Args:  cli.NoArguments,
	}
	token.AddCommand(newTokenNewCommand())
	return token
}

func newTokenNewCommand() *cobra.Command {
	var out terminal.Output
	var role string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token for a person, and the entry for the configuration",
		Long: `Make a token for a person, and the entry for the configuration.

The token is random and is shown only now. The entry has its SHA-256, from which nobody can find the
token. Add the entry to access.tokens, start the processes with the role monitor again, and give
the token to the person. What the person does on the pages is recorded with NAME.

A viewer looks. An operator also retries, gives up, replays, redrives, reschedules, pauses and
resumes. An admin also discards, cancels, erases, corrects, applies and removes.`,
		Example: `  outboxd token new ada@example.com --role operator
  outboxd token new deploy --role admin -o json | jq -r .entry`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return config.Mistake{Err: fmt.Errorf("name the one person for whom the token is")}
			}
			return nil
		},
	}
	out.AddFlag(cmd)
	cmd.Flags().StringVar(&role, "role", access.Viewer.String(), "what the person may do: "+strings.Join(value.AccessRoles, ", "))
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(value.AccessRoles, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		document, err := newToken(args[0], role)
		if err != nil {
			return config.Mistake{Err: err}
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) {
			fmt.Fprintf(w, "Token of %s, shown only now:\n  %s\n\nEntry for access.tokens (--access-tokens, OUTBOXD_ACCESS_TOKENS):\n  %s\n", document.Name, document.Token, document.Entry)
		})
	}
	return cmd
}

func newToken(name, role string) (tokenDocument, error) {
	if err := value.CheckPerson(name); err != nil {
		return tokenDocument{}, err
	}
	r, err := access.ParseRole(role)
	if err != nil {
		return tokenDocument{}, fmt.Errorf("--role %w", err)
	}
	token := access.NewToken()
	t := access.Token{Identity: access.Identity{Name: name, Role: r}, Digest: access.DigestOf(token)}
	return tokenDocument{name, role, token, t.Entry()}, nil
}
