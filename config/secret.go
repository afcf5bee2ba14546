package config

import (
	"log/slog"
	"net/url"
	"strings"
)

// mask takes the place of a secret.
const mask = "********"

// Secret is text that must not be shown. Every way of printing, logging or
// marshalling it masks it; string(s) is the secret itself.
type Secret string

// String returns the mask, or "" if there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString masks the secret for %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// LogValue masks the secret for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// SecretURL is a URL, or a key=value connection string of PostgreSQL, that may
// hold a password. Every way of printing, logging or marshalling it masks the
// password and leaves the rest; string(u) is the whole URL.
type SecretURL string

// String returns the URL with its secrets masked. If it cannot parse the text,
// it masks too much rather than too little.
func (u SecretURL) String() string {
	text := string(u)
	scheme, rest, isURL := cutScheme(text)
	switch {
	case text == "":
		return ""
	case isURL:
		return scheme + "://" + maskQuery(maskUser(scheme, rest))
	default:
		return maskPairs(text)
	}
}

// GoString masks the password for %#v.
func (u SecretURL) GoString() string { return `"` + u.String() + `"` }

// LogValue masks the password for slog.
func (u SecretURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText masks the password for JSON and YAML.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText takes the text as it is.
func (u *SecretURL) UnmarshalText(text []byte) error {
	*u = SecretURL(text)
	return nil
}

// maskUser masks the password before the host. It takes the last @ as the end
// of the password, because a password that was not percent-encoded may contain
// @, / and ?.
func maskUser(scheme, rest string) string {
	end := strings.LastIndexByte(rest, '@')
	if end < 0 {
		return rest
	}
	user, _, found := strings.Cut(rest[:end], ":")
	switch {
	case strings.ContainsAny(user, "/?#@"):
		// The colon belongs to the password or to the port.
		return mask + rest[end:]
	case found:
		return user + ":" + mask + rest[end:]
	case isPostgresScheme(scheme):
		return rest
	default:
		// A token in place of a user name is common with Redis and HTTP.
		return mask + rest[end:]
	}
}

// maskQuery masks the values of parameters such as password and sslpassword.
func maskQuery(rest string) string {
	head, query, found := strings.Cut(rest, "?")
	if !found {
		return rest
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, hasValue := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		switch {
		case err != nil:
			pairs[i] = mask
		case hasValue && isSecretName(plain):
			pairs[i] = name + "=" + mask
		}
	}
	return head + "?" + strings.Join(pairs, "&")
}

// maskPairs masks a key=value connection string.
func maskPairs(text string) string {
	pairs, err := parsePairs(text)
	if err != nil {
		return mask
	}
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.key + "=" + p.raw
		if isSecretName(p.key) {
			texts[i] = p.key + "=" + mask
		}
	}
	return strings.Join(texts, " ")
}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"password", "passwd", "secret", "token", "signature", "apikey", "api_key"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
