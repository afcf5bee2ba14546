package broker

import (
	"crypto/tls"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// redisPort and sentinelPort are the default ports.
const (
	redisPort    = "6379"
	sentinelPort = "26379"
)

// ParseURL reads a Redis URL. The scheme of the URL is redis://, redis-socket://,
// redis-sentinel:// or redis-cluster://, or with TLS rediss://, rediss-sentinel:// or
// rediss-cluster://. The user and the password are those of the data servers, even if the
// hosts are Sentinels. With TLS the options have a TLSConfig. Errors: domain.CodeInvalid.
// The error does not repeat the URL, which may contain a password.
func ParseURL(address string) (asynq.RedisConnOpt, error) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		return nil, errUnreadableURL
	}
	if scheme == "rediss-socket" {
		return nil, domain.Errorf(domain.CodeInvalid, "the Redis URL begins with rediss-socket://, but a unix socket has no TLS: write redis-socket://")
	}
	hosts, u, err := splitHosts(rest)
	if err != nil {
		return nil, errUnreadableURL
	}
	password, _ := u.User.Password()
	username := u.User.Username()
	db, err := databaseNumber(u, scheme == "redis-socket")
	if err != nil {
		return nil, errUnreadableURL
	}
	var secured *tls.Config
	plain := scheme
	if name, with := strings.CutPrefix(scheme, "rediss"); with {
		plain, secured = "redis"+name, &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch plain {
	case "redis":
		if len(hosts) != 1 || hosts[0] == "" {
			return nil, errUnreadableURL
		}
		return asynq.RedisClientOpt{Addr: withPort(hosts[0], redisPort), Username: username, Password: password, DB: db, TLSConfig: secured}, nil
	case "redis-socket":
		return asynq.RedisClientOpt{Network: "unix", Addr: u.Path, Username: username, Password: password, DB: db}, nil
	case "redis-sentinel":
		return asynq.RedisFailoverClientOpt{
			MasterName: u.Query().Get("master"), SentinelAddrs: withPorts(hosts, sentinelPort), Username: username, Password: password, DB: db, TLSConfig: secured,
		}, nil
	case "redis-cluster":
		return asynq.RedisClusterClientOpt{Addrs: withPorts(hosts, redisPort), Username: username, Password: password, TLSConfig: secured}, nil
	default:
		return nil, errUnreadableURL
	}
}

var errUnreadableURL = domain.Errorf(domain.CodeInvalid,
	"the Redis URL cannot be read: it must look like redis://user:password@host:6379/0, redis-socket:///path?db=0, redis-sentinel://host:26379,host:26379/0?master=name or redis-cluster://host:6379,host:6379; with TLS it begins with rediss")

// splitHosts separates the hosts from the rest of a URL, because package net/url cannot
// read a URL with several hosts.
func splitHosts(rest string) (hosts []string, u *url.URL, err error) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	for host := range strings.SplitSeq(rest[at:end], ",") {
		hosts = append(hosts, host)
		if _, err := url.Parse("redis://" + host); err != nil {
			return nil, nil, err
		}
	}
	u, err = url.Parse("redis://" + rest[:at] + "host" + rest[end:])
	return hosts, u, err
}

func databaseNumber(u *url.URL, isSocket bool) (int, error) {
	text := strings.Trim(u.Path, "/")
	if isSocket {
		text = u.Query().Get("db")
	}
	if text == "" {
		return 0, nil
	}
	return strconv.Atoi(text)
}

func withPort(host, port string) string {
	if strings.HasSuffix(host, "]") || !strings.Contains(host, ":") {
		return net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return host
}

func withPorts(hosts []string, port string) []string {
	addresses := make([]string, len(hosts))
	for i, host := range hosts {
		addresses[i] = withPort(host, port)
	}
	return addresses
}
