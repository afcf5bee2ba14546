package command

import (
	"errors"
	"strings"

	"outboxd/app/embedded/keeper"
	"outboxd/config"
	"outboxd/config/address"
	"outboxd/domain/smallfile"
)

// redisCLICommand returns the command, for a shell, with which redis-cli reaches the Redis of a URL, with the user, the
// password and the certificates of the options. redisCLICommand returns an error for Sentinels, and if the file with
// the password cannot be read.
func redisCLICommand(o *config.Redis, url string) (string, error) {
	cli, ok := address.RedisCLIOf(url)
	if !ok {
		return "", errors.New("redis-cli cannot follow Sentinels: ask one for the master, with redis-cli -h SENTINEL -p 26379 SENTINEL get-master-addr-by-name NAME")
	}
	if o.Username != "" {
		cli.User = o.Username
	}
	if o.PasswordFile != "" {
		var err error
		if cli.Password, err = smallfile.Secret(o.PasswordFile).Read(); err != nil {
			return "", err
		}
	}
	args := append([]string{"redis-cli"}, cli.Args...)
	add := func(name, value string) {
		if value != "" {
			args = append(args, name, value)
		}
	}
	add("--user", cli.User)
	if cli.TLS {
		args = append(args, "--tls")
		add("--cacert", o.TLSCA)
		add("--cert", o.TLSCert)
		add("--key", o.TLSKey)
		add("--sni", o.TLSServerName)
	}
	for i, arg := range args {
		args[i] = keeper.ShellQuote(arg)
	}
	// Not an argument: all users of the machine see the arguments of a process.
	if cli.Password != "" {
		args = append([]string{"REDISCLI_AUTH=" + keeper.ShellQuote(cli.Password)}, args...)
	}
	return strings.Join(args, " "), nil
}
