package config

import (
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// The errors in this file hold no part of the value, which may be a secret.

const encodeHint = "; characters such as @ : / ? # % inside a password must be percent-encoded"

func isPostgresScheme(scheme string) bool { return scheme == "postgres" || scheme == "postgresql" }

// cutScheme cuts a URL after its scheme. A connection string with :// inside a
// value is no URL.
func cutScheme(text string) (scheme, rest string, isURL bool) {
	scheme, rest, isURL = strings.Cut(text, "://")
	if !isURL || !schemePattern.MatchString(scheme) {
		return "", text, false
	}
	return scheme, rest, true
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)

// checkPostgres accepts what libpq and pgx read: a URL, also with several
// hosts, or key=value pairs.
func checkPostgres(text string) error {
	scheme, rest, isURL := cutScheme(text)
	if !isURL {
		if _, err := parsePairs(text); err != nil {
			return errors.New("it is neither a URL such as postgres://user:password@host:5432/name nor key=value pairs such as host=db dbname=name")
		}
		return nil
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
	address, _, _ := strings.Cut(rest, "?")
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

type pair struct{ key, raw string }

// A value of libpq's key=value form: in single quotes, or a run without
// spaces. A backslash takes the next character as it is.
var pairPattern = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?:\s+|$)`)

// parsePairs takes a key=value connection string apart.
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

func checkWebhookURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return errors.New("it is not a URL that begins with http:// or https:// and names a host")
	}
	return nil
}

// checkListenAddr accepts an address to listen on: any host, any port, also 0.
func checkListenAddr(text string) error { return checkAddr(text, 0, "127.0.0.1:8080") }

// checkServerAddr accepts the address of a server elsewhere.
func checkServerAddr(text string) error {
	if host, _, err := net.SplitHostPort(text); err == nil && host == "" {
		return errors.New(quote(text) + " names no host")
	}
	return checkAddr(text, 1, "mail.example.com:587")
}

func checkAddr(text string, lowest int, example string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil || !isPort(port, lowest) {
		return errors.New(quote(text) + " is not an address: write it as host:port, such as " + example)
	}
	return nil
}

func checkMailbox(text string) error {
	if _, err := mail.ParseAddress(text); err != nil {
		return errors.New(quote(text) + " is not a mail address: write it as no-reply@example.com or Example <no-reply@example.com>")
	}
	return nil
}

// IsLoopback reports whether only this machine can reach an address to listen
// on, or whether only it is meant by a Host header. Port and brackets may be
// there or not. An empty host is every interface, so it is not. Names below
// localhost are this machine's too (RFC 6761, section 6.3).
func IsLoopback(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func isPort(text string, lowest int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= lowest && n <= 65535
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}
