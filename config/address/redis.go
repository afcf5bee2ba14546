package address

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// CheckRedis accepts the forms of URL that asynq reads. It refuses parts that
// asynq would ignore, because then the database, the password or the server would
// not be the intended one.
func CheckRedis(text string) error {
	if authority, isRedis := redisAuthority(text); isRedis && strings.Contains(authority, ",") {
		return errors.New("the URL has a list of hosts, which only redis-sentinel:// takes: name one Redis, or write Sentinels as redis-sentinel://host1:26379,host2:26379?master=name")
	}
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("it is not a URL such as redis://:password@host:6379/0" + encodeHint)
	}
	switch u.Scheme {
	case "redis", "rediss":
		err = checkRedisHost(u)
	case "redis-socket":
		err = checkRedisSocket(u)
	case "redis-sentinel":
		err = checkSentinels(u)
	default:
		return errors.New("the URL must begin with redis://, rediss://, redis-socket:// or redis-sentinel://")
	}
	if err == nil && (u.Fragment != "" || strings.Contains(text, "#")) {
		return errors.New("the URL has a #, and nothing behind it is used" + encodeHint)
	}
	return err
}

// redisAuthority returns the part of a Redis URL that names the hosts. net/url
// cannot parse a list of hosts whose first one has a port.
func redisAuthority(text string) (hosts string, isRedis bool) {
	scheme, rest, isURL := cutScheme(text)
	if !isURL || scheme != "redis" && scheme != "rediss" {
		return "", false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest[strings.LastIndexByte(rest, '@')+1:], true
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
	switch {
	case u.Host == "" || u.Query().Get("master") == "":
		return errors.New("the URL needs the sentinels and the master's name: write it as redis-sentinel://host1:26379,host2:26379?master=name")
	case strings.Trim(u.Path, "/") != "":
		return errors.New("the URL of Sentinels has a path, which is not used: leave it out; tasks are in database 0")
	default:
		return checkParameters(u, "master")
	}
}

// parameterName matches names of parameters, and hardly any password.
var parameterName = regexp.MustCompile(`^[a-z][a-z_]{1,20}$`)

// checkParameters refuses parameters that are not used. It names the parameter,
// and not its value.
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
