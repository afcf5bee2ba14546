package address

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

const encodeHint = "; characters such as @ : / ? # % inside a password must be percent-encoded"

func isPostgresScheme(scheme string) bool { return scheme == "postgres" || scheme == "postgresql" }

// cutScheme splits a URL after its scheme. A key=value string is no URL, even if a value
// contains "://".
func cutScheme(text string) (scheme, rest string, isURL bool) {
	scheme, rest, isURL = strings.Cut(text, "://")
	if !isURL || !schemePattern.MatchString(scheme) {
		return "", text, false
	}
	return scheme, rest, true
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// CheckPostgres returns an error unless text has the form of a URL of PostgreSQL, with one host or
// several, or of key=value pairs. It also returns the error of CheckFile for each file that text
// names.
func CheckPostgres(text string) error {
	scheme, rest, isURL := cutScheme(text)
	if !isURL {
		return checkPairs(text)
	}
	if !isPostgresScheme(scheme) {
		return errors.New("the URL must begin with postgres:// or postgresql://")
	}
	if _, err := url.PathUnescape(rest); err != nil {
		return errors.New("the URL has a % that does not begin an escape such as %40" + encodeHint)
	}
	if strings.Contains(rest, "#") {
		return errors.New("the URL has a #" + encodeHint)
	}
	address, query, _ := strings.Cut(rest, "?")
	if err := checkPostgresQuery(query); err != nil {
		return err
	}
	if strings.Count(address, "@") > 1 {
		return errors.New("the URL has more than one @" + encodeHint)
	}
	authority, _, _ := strings.Cut(address, "/")
	hosts := authority[strings.LastIndexByte(authority, '@')+1:]
	for host := range strings.SplitSeq(hosts, ",") {
		if _, port, found := strings.Cut(host[strings.LastIndexByte(host, ']')+1:], ":"); found && port != "" && !isPort(port, 1) {
			return errors.New("the port in the URL is not a number from 1 to 65535" + encodeHint)
		}
	}
	return nil
}

// postgresParameter matches the name of a connection parameter, or of a setting of the
// session, such as app.tenant.
var postgresParameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// checkPostgresQuery refuses a query if pgx would ignore a part of it, or would send a part of a
// password to the server as the name of a setting.
func checkPostgresQuery(query string) error {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows the ? in the URL must be name=value, with & between several" + encodeHint)
	}
	for name := range parameters {
		if !postgresParameter.MatchString(name) {
			return errors.New("what follows the ? in the URL has a name that no parameter has" + encodeHint)
		}
	}
	return checkFiles(func(name string) []string { return parameters[name] })
}

// checkPairs refuses a text that is not key=value pairs. It also refuses pairs that are separated
// by ;, as other libraries write them: the first value would contain the other pairs, and an error
// about it would show the password.
func checkPairs(text string) error {
	pairs, err := parsePairs(text)
	if err != nil {
		return errors.New("it is neither a URL such as postgres://user:password@host:5432/name nor key=value pairs such as host=db dbname=name")
	}
	for _, p := range pairs {
		if !isSecretName(p.key) && separated.MatchString(p.raw) {
			return errors.New("the key=value pairs must have spaces between them, not ;")
		}
	}
	return checkFiles(func(name string) (values []string) {
		for _, p := range pairs {
			if p.key == name {
				values = append(values, p.value())
			}
		}
		return values
	})
}

var separated = regexp.MustCompile(`^[^']*;[A-Za-z_]+=`)

type pair struct{ key, raw string }

// value returns the value without the quotes and backslashes of the key=value form.
func (p pair) value() string {
	text := p.raw
	if len(text) >= 2 && text[0] == '\'' {
		text = text[1 : len(text)-1]
	}
	return quoted.ReplaceAllString(text, "$1")
}

var quoted = regexp.MustCompile(`(?s)\\(.)`)

// A value of libpq's key=value form stands in single quotes, or is a run of characters
// without spaces. A backslash quotes the next character.
var pairPattern = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?:\s+|$)`)

// parsePairs splits a key=value connection string into its pairs.
func parsePairs(text string) ([]pair, error) {
	var pairs []pair
	for strings.TrimSpace(text) != "" {
		m := pairPattern.FindStringSubmatch(text)
		if m == nil {
			return nil, errors.New("not key=value")
		}
		pairs = append(pairs, pair{m[1], m[2]})
		text = text[len(m[0]):]
	}
	if len(pairs) == 0 {
		return nil, errors.New("no key=value")
	}
	return pairs, nil
}
