package env

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"

	"outboxd/jobs/broker"
)

var schemaPattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// withSchema makes a schema the search path of a connection string, for the connections of the benchmark's own clients.
// The string is a URL, which may have several hosts, or a list of key=value pairs.
func withSchema(address, schema string) (string, error) {
	if !strings.Contains(address, "://") {
		return address + " search_path=" + schema + " application_name=outboxd-bench", nil
	}
	base, query, _ := strings.Cut(address, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("the query of the database URL cannot be read")
	}
	values.Set("search_path", schema)
	values.Set("application_name", "outboxd-bench")
	return base + "?" + strings.ReplaceAll(values.Encode(), "+", "%20"), nil
}

// withRedisDB puts a database number into a Redis URL.
func withRedisDB(address string, number int) (string, asynq.RedisConnOpt, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, fmt.Errorf("the Redis URL cannot be read")
	}
	switch u.Scheme {
	case "redis", "rediss":
		u.Path = "/" + strconv.Itoa(number)
	case "redis-socket":
		query := u.Query()
		query.Set("db", strconv.Itoa(number))
		u.RawQuery = query.Encode()
	default:
		return "", nil, fmt.Errorf("a benchmark needs a Redis URL that names one server: redis://, rediss:// or redis-socket://")
	}
	opt, err := broker.ParseURL(u.String())
	return u.String(), opt, err
}
