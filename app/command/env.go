package command

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/embedded"
	"outboxd/app/embedded/keeper"
	"outboxd/app/servers"
	"outboxd/config"
)

type envDocument struct {
	DatabaseURL string `json:"database_url"`
	RedisURL    string `json:"redis_url"`
	// RedisCLI is the command, for a shell, with which redis-cli reaches this Redis. It is there only with
	// --redis-cli.
	RedisCLI string `json:"redis_cli,omitempty"`
}

func newEnvCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var redisCLI bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the addresses of PostgreSQL and Redis for a service of yours, passwords included",
		Long: `Print the addresses of PostgreSQL and Redis for a service of yours, passwords included.

A shell that evaluates the output has them in DATABASE_URL and REDIS_URL. They are those of the
configuration. Where it has none, they are those of the servers that a running outboxd started on
its data directory. The address of Redis is one for asynq.ParseRedisURI, that of PostgreSQL one for
pgx, lib/pq and psql.

With --redis-cli it prints the command with which redis-cli reaches this Redis, to paste into a shell
or to evaluate. The command carries the user, the options of TLS and the password: that of
--redis-password-file, or that of the address. The password is in the variable REDISCLI_AUTH, which
other users of the machine cannot see while redis-cli runs. redis-cli cannot follow Sentinels, so the
command fails for them and says what to do instead.`,
		Example: `  eval "$(outboxd env)"
  eval "$(outboxd env --redis-cli)" INFO server
  outboxd env --data-dir=/srv/outboxd -o json | jq -r .database_url`,
		Args: cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.Flags().BoolVar(&redisCLI, "redis-cli", false, "print only the command with which redis-cli reaches Redis")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.Check(); err != nil {
			return err
		}
		cfg, err := c.LoadAs(cmd, config.RoleRelay)
		if err != nil {
			return err
		}
		document, err := addresses(cfg)
		if err != nil {
			return err
		}
		// Only when asked: the command carries the content of --redis-password-file.
		if redisCLI {
			if document.RedisCLI, err = redisCLICommand(&cfg.Redis, document.RedisURL); err != nil {
				return err
			}
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) {
			if redisCLI {
				fmt.Fprintln(w, document.RedisCLI)
				return
			}
			fmt.Fprintf(w, "export DATABASE_URL=%s\nexport REDIS_URL=%s\n", keeper.ShellQuote(document.DatabaseURL), keeper.ShellQuote(document.RedisURL))
		})
	}
	return cmd
}

// incomplete returns an error if a server has no address, neither in the configuration nor on the data directory.
func (e *envDocument) incomplete(dir string) error {
	switch {
	case e.DatabaseURL == "" && e.RedisURL == "":
		return errors.New("no outboxd runs on the data directory " + dir + " with servers of its own: start it, or name its folder with --data-dir")
	case e.DatabaseURL == "":
		return errors.New("no outboxd runs a PostgreSQL on the data directory " + dir + ": set DATABASE_URL or --database-url as the daemon has it, or name its folder with --data-dir")
	case e.RedisURL == "":
		return errors.New("no outboxd runs a Redis on the data directory " + dir + ": set REDIS_URL or --redis-url as the daemon has it, or name its folder with --data-dir")
	}
	return nil
}

// addresses returns the URLs of the configured servers, or else those that the owners of the embedded servers have
// published on the data directory.
func addresses(cfg *config.Config) (envDocument, error) {
	document := envDocument{DatabaseURL: string(cfg.Database.URL), RedisURL: string(cfg.Redis.URL)}
	if document.DatabaseURL != "" && document.RedisURL != "" {
		return document, nil
	}
	dir, err := servers.DataDir(cfg)
	if err != nil {
		return envDocument{}, err
	}
	database, redis := embedded.Addresses(dir)
	if document.DatabaseURL == "" {
		document.DatabaseURL = database
	}
	if document.RedisURL == "" {
		document.RedisURL = redis
	}
	return document, document.incomplete(dir)
}
