package address

import (
	"net/url"
	"strings"
)

// RedisCLI returns the arguments with which redis-cli reaches the Redis of a URL. It returns none for Sentinels, which
// redis-cli cannot follow, and for a text that is no URL of a Redis.
func RedisCLI(text string) []string {
	scheme, rest, isURL := cutScheme(text)
	user, hosts, tail := cutHosts(rest)
	u, err := url.Parse(scheme + "://" + user + hosts[0] + tail)
	if !isURL || err != nil {
		return nil
	}
	plain, cluster := strings.CutSuffix(scheme, "-cluster")
	switch {
	case scheme == "redis-socket":
		return socketArguments(u)
	case cluster:
		return []string{"-c", "-u", plain + "://" + user + hosts[0]}
	case scheme == "redis", scheme == "rediss":
		return []string{"-u", text}
	default:
		return nil
	}
}

func socketArguments(u *url.URL) []string {
	args := []string{"-s", u.Path}
	if number := u.Query().Get("db"); number != "" {
		args = append(args, "-n", number)
	}
	if name := u.User.Username(); name != "" {
		args = append(args, "--user", name)
	}
	if password, set := u.User.Password(); set {
		args = append(args, "--no-auth-warning", "-a", password)
	}
	return args
}
