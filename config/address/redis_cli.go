package address

import (
	"net/url"
	"strings"
)

// RedisCLI is what redis-cli needs to reach a Redis.
type RedisCLI struct {
	Args           []string // without the user, the password and TLS
	User, Password string
	TLS            bool
}

// RedisCLIOf returns how redis-cli reaches the Redis of a URL. ok is false for Sentinels, which redis-cli cannot
// follow, and for a text that is no URL of a Redis.
func RedisCLIOf(text string) (cli RedisCLI, ok bool) {
	scheme, rest, isURL := cutScheme(text)
	user, hosts, tail := cutHosts(rest)
	u, err := url.Parse(scheme + "://" + user + hosts[0] + tail)
	if !isURL || err != nil {
		return RedisCLI{}, false
	}
	number := strings.Trim(u.Path, "/")
	switch plain, cluster := strings.CutSuffix(scheme, "-cluster"); {
	case scheme == "redis-socket":
		cli.Args, number = []string{"-s", u.Path}, u.Query().Get("db")
	case cluster:
		cli.Args, number, cli.TLS = append([]string{"-c"}, hostArguments(u)...), "", plain == "rediss"
	case scheme == "redis", scheme == "rediss":
		cli.Args, cli.TLS = hostArguments(u), scheme == "rediss"
	default:
		return RedisCLI{}, false
	}
	if number != "" {
		cli.Args = append(cli.Args, "-n", number)
	}
	cli.User = u.User.Username()
	cli.Password, _ = u.User.Password()
	return cli, true
}

func hostArguments(u *url.URL) []string {
	var args []string // without a host, redis-cli means this machine, as go-redis does
	if host := u.Hostname(); host != "" {
		args = append(args, "-h", host)
	}
	if port := u.Port(); port != "" {
		args = append(args, "-p", port)
	}
	return args
}
