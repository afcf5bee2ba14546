package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/embedded"
	"outboxd/app/embedded/keeper"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/config/address"
)

type envDocument struct {
	DatabaseURL string `json:"database_url"`
	RedisURL    string `json:"redis_url"`
	// RedisCLI are the arguments of redis-cli for this Redis. There are none if arguments cannot carry all options of
	// Redis, and for Sentinels.
	RedisCLI []string `json:"redis_cli,omitempty"`
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

With --redis-cli it prints the arguments with which redis-cli reaches this Redis. redis-cli does not
understand all forms of an address that outboxd accepts, such as that of the Redis that outboxd
starts. A password in the address becomes an argument, which other users of the machine can see while
redis-cli runs. If the arguments cannot carry an option, such as --redis-password-file, the command
fails and says what to do instead.`,
		Example: `  eval "$(outboxd env)"
  redis-cli $(outboxd env --redis-cli) INFO server
  outboxd env --data-dir=/srv/outboxd -o json | jq -r .database_url`,
		Args: cli.NoArguments,
	}
	out.AddFlag(cmd)
	cmd.Flags().BoolVar(&redisCLI, "redis-cli", false, "print only the arguments of redis-cli")
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
		document.RedisCLI, err = redisCLIArguments(cfg, document.RedisURL)
		if redisCLI && err != nil {
			return err
		}
		return out.Write(cmd.OutOrStdout(), document, func(w io.Writer) {
			if redisCLI {
				fmt.Fprintln(w, strings.Join(document.RedisCLI, " "))
				return
			}
			fmt.Fprintf(w, "export DATABASE_URL=%s\nexport REDIS_URL=%s\n", keeper.ShellQuote(document.DatabaseURL), keeper.ShellQuote(document.RedisURL))
		})
	}
	return cmd
}

// redisCLIArguments returns the arguments with which redis-cli reaches the Redis of a URL.
// redisCLIArguments returns an error if the arguments cannot carry an option of Redis, or
// if an argument has a space, at which a shell cuts the output.
func redisCLIArguments(cfg *config.Config, url string) ([]string, error) {
	args := address.RedisCLI(url)
	if len(args) == 0 {
		return nil, errors.New("redis-cli cannot follow Sentinels: ask one for the master, with redis-cli -h SENTINEL -p 26379 SENTINEL get-master-addr-by-name NAME")
	}
	for _, option := range []struct{ name, value, instead string }{
		{"redis.username", cfg.Redis.Username, "--user"},
		{"redis.password_file", cfg.Redis.PasswordFile, "the variable REDISCLI_AUTH"},
		{"redis.tls_ca", cfg.Redis.TLSCA, "--cacert"},
		{"redis.tls_cert", cfg.Redis.TLSCert, "--cert"},
		{"redis.tls_key", cfg.Redis.TLSKey, "--key"},
		{"redis.tls_server_name", cfg.Redis.TLSServerName, "--sni"},
	} {
		if option.value != "" {
			return nil, fmt.Errorf("the printed arguments of redis-cli cannot carry the option %s: call redis-cli yourself, with %s", option.name, option.instead)
		}
	}
	for _, arg := range args {
		if strings.ContainsAny(arg, " \t\n") {
			return nil, errors.New("an argument of redis-cli has a space, at which a shell would cut it: call redis-cli yourself, with the address that outboxd env prints")
		}
	}
	return args, nil
}

// addresses returns the URLs of the configured servers, or else of the embedded servers that run on the data directory.
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
	if document.DatabaseURL == "" || document.RedisURL == "" {
		return envDocument{}, errors.New("no outboxd runs on the data directory " + dir + " with servers of its own: start it, or name its folder with --data-dir")
	}
	return document, nil
}
