package address

import (
	"net/url"
	"strings"
)

// Masked stands where a secret was.
const Masked = "********"

// Mask returns a URL, or a key=value connection string of PostgreSQL, with its secrets
// masked. Mask hides too much rather than too little of a text that it cannot parse.
func Mask(text string) string {
	scheme, rest, isURL := cutScheme(text)
	switch {
	case text == "":
		return ""
	case isURL:
		return scheme + "://" + maskURL(scheme, rest)
	default:
		return maskPairs(text)
	}
}

// maskURL masks what follows the scheme. A @ behind a ? may be part of a password in the query. Or
// it ends a password that stands before the host, contains the ?, and was not percent-encoded. So
// maskURL then masks everything that follows the scheme.
func maskURL(scheme, rest string) string {
	head, query, found := strings.Cut(rest, "?")
	switch {
	case strings.Contains(query, "@"):
		return Masked
	case found:
		return maskUser(scheme, head) + "?" + maskQuery(query)
	default:
		return maskUser(scheme, head)
	}
}

// maskUser masks the password that stands before the host. The password ends at the last
// @, because a password that was not percent-encoded may contain @ and /.
func maskUser(scheme, rest string) string {
	end := strings.LastIndexByte(rest, '@')
	if end < 0 {
		return rest
	}
	user, _, found := strings.Cut(rest[:end], ":")
	switch {
	case strings.ContainsAny(user, "/#@"):
		// A user name has none of these characters, so this text may be part of a password.
		return Masked + rest[end:]
	case found:
		return user + ":" + Masked + rest[end:]
	case isPostgresScheme(scheme):
		return rest
	default:
		// With Redis and HTTP, a token often stands in the place of the user name.
		return Masked + rest[end:]
	}
}

// maskQuery masks the values of parameters such as password and sslpassword.
func maskQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, hasValue := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		switch {
		case err != nil:
			pairs[i] = Masked
		case hasValue && isSecret(plain, value):
			pairs[i] = name + "=" + Masked
		}
	}
	return strings.Join(pairs, "&")
}

// maskPairs masks a key=value connection string.
func maskPairs(text string) string {
	pairs, err := parsePairs(text)
	if err != nil {
		return Masked
	}
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.key + "=" + p.raw
		if isSecret(p.key, p.raw) {
			texts[i] = p.key + "=" + Masked
		}
	}
	return strings.Join(texts, " ")
}

// isSecret reports whether to mask the value of a name. A value may contain further names, such as
// h;password=p, if its writer separated the pairs with a semicolon.
func isSecret(name, value string) bool {
	inner, _, found := strings.Cut(value, "=")
	return isSecretName(name) || found && isSecretName(inner)
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
