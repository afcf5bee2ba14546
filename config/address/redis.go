package address

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// CheckRedis returns an error unless text is a URL of one Redis, of Sentinels or of a
// cluster. CheckRedis refuses URL parts that outboxd does not use: whoever wrote them
// expects another database, password or server.
func CheckRedis(text string) error {
	scheme, rest, isURL := cutScheme(text)
	kind, known := redisKinds[scheme]
	if isURL && !known {
		return errors.New("the URL must begin with redis://, redis-socket://, redis-sentinel:// or redis-cluster://, or with rediss://, rediss-sentinel:// or rediss-cluster://")
	}
	user, hosts, tail := cutHosts(rest)
	u, err := url.Parse(scheme + "://" + user + hosts[0] + tail)
	if !isURL || err != nil {
		return errors.New("it is not a URL such as redis://:password@host:6379/0" + encodeHint)
	}
	for _, host := range hosts[1:] {
		if other, err := url.Parse(scheme + "://" + host); err != nil || other.Host == "" || other.Port() != "" && !isPort(other.Port(), 1) {
			return errors.New("the list of hosts in the URL must look like host1:6379,host2:6379" + encodeHint)
		}
	}
	if u.Fragment != "" || strings.Contains(text, "#") {
		return errors.New("the URL has a #, and nothing behind it is used" + encodeHint)
	}
	if len(hosts) > 1 && !kind.several {
		return errors.New("the URL has a list of hosts, which only redis-sentinel:// and redis-cluster:// take: name one Redis, or write Sentinels as redis-sentinel://host1:26379,host2:26379?master=name")
	}
	return kind.check(u)
}

// redisKind is what a scheme means.
type redisKind struct {
	several bool // whether the URL may have several hosts
	check   func(u *url.URL) error
}

var redisKinds = map[string]redisKind{
	"redis":           {false, checkRedisHost},
	"rediss":          {false, checkRedisHost},
	"redis-socket":    {false, checkRedisSocket},
	"redis-sentinel":  {true, checkSentinels},
	"rediss-sentinel": {true, checkSentinels},
	"redis-cluster":   {true, checkCluster},
	"rediss-cluster":  {true, checkCluster},
}

// cutHosts splits the part of a URL after the scheme into the user and password with
// their @, the hosts (at least one), and the rest. cutHosts is needed because net/url
// cannot parse a list of hosts with ports.
func cutHosts(rest string) (user string, hosts []string, tail string) {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest, tail = rest[:end], rest[end:]
	}
	at := strings.LastIndexByte(rest, '@') + 1
	return rest[:at], strings.Split(rest[at:], ","), tail
}

func checkRedisHost(u *url.URL) error {
	number := strings.Trim(u.Path, "/")
	switch {
	case u.Hostname() == "":
		return errors.New("the URL names no host: write it as redis://host:6379/0")
	case u.Port() != "" && !isPort(u.Port(), 1):
		return errors.New("the port in the URL is not a number from 1 to 65535")
	case number != "" && !isNumber(number):
		return errors.New("the path of the URL must be a database number, such as /0")
	case u.Query().Has("db"):
		return errors.New("the URL names the database by the parameter db, which is not used: write it as the path, such as redis://host:6379/3")
	default:
		return checkParameters(u)
	}
}

func checkRedisSocket(u *url.URL) error {
	switch number := u.Query().Get("db"); {
	case u.Host != "" || !path.IsAbs(u.Path):
		return errors.New("the URL needs the absolute path of the socket: write it as redis-socket:///run/redis.sock?db=0")
	case number != "" && !isNumber(number):
		return errors.New("db in the URL must be a database number, such as ?db=0")
	default:
		return checkParameters(u, "db")
	}
}

func checkSentinels(u *url.URL) error {
	number := strings.Trim(u.Path, "/")
	switch {
	case u.Host == "" || u.Query().Get("master") == "":
		return errors.New("the URL needs the sentinels and the master's name: write it as redis-sentinel://host1:26379,host2:26379?master=name")
	case number != "" && !isNumber(number):
		return errors.New("the path of the URL must be a database number, such as /0")
	default:
		return checkParameters(u, "master")
	}
}

func checkCluster(u *url.URL) error {
	switch {
	case u.Host == "":
		return errors.New("the URL names no host: write it as redis-cluster://host1:6379,host2:6379")
	case strings.Trim(u.Path, "/0") != "":
		return errors.New("the URL of a cluster has a path, which is not used: leave it out; a cluster has database 0 alone")
	default:
		return checkParameters(u)
	}
}

// parameterName matches what most likely is only a parameter's name: small letters and underscores.
// Anything else after a ? may be the rest of a password that has a ? in it.
var parameterName = regexp.MustCompile(`^[a-z][a-z_]{1,20}$`)

// checkParameters refuses URL parameters that outboxd does not use, and repeated ones. The error
// names the parameter if parameterName matches its name, and never quotes its value.
func checkParameters(u *url.URL, used ...string) error {
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("what follows the ? in the URL is not name=value" + encodeHint)
	}
	for name, values := range parameters {
		switch {
		case !slices.Contains(used, name) && parameterName.MatchString(name):
			return errors.New("the URL has the parameter " + name + ", which is not used: leave it out")
		case !slices.Contains(used, name):
			return errors.New("the URL has a parameter that is not used: leave out what follows the ?" + encodeHint)
		case len(values) > 1:
			return errors.New("the URL has the parameter " + name + " twice")
		}
	}
	return nil
}
