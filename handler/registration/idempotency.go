package registration

import (
	"net/http"
	"strings"

	"outboxd/handler"
)

// HeaderIdempotencyKey identifies a request, so that a client that got no answer
// can safely repeat it. The value is a string in double quotes, as in the IETF's
// draft-ietf-httpapi-idempotency-key-header. The form without quotes, which most
// clients send, is accepted too.
const HeaderIdempotencyKey = "Idempotency-Key"

// HeaderIdempotencyReplayed is "true" on the answer to a repeated request.
const HeaderIdempotencyReplayed = "Idempotency-Replayed"

const maxIdempotencyKey = 255

// parseIdempotencyKey returns the key from the header's values; "" if the header is
// missing. A key has 1 to 255 printable ASCII characters. Errors are Problems.
func parseIdempotencyKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", badKey("must be given once")
	}
	key := strings.Trim(values[0], " \t")
	if strings.HasPrefix(key, `"`) {
		unquoted, ok := unquoteString(key)
		if !ok {
			return "", badKey("must end with the double quote it began with, and nothing may follow")
		}
		key = unquoted
	} else if strings.ContainsAny(key, `" ,;`) {
		return "", badKey("must be in double quotes to contain a space, comma, semicolon or quote")
	}
	switch {
	case key == "":
		return "", badKey("must not be empty")
	case len(key) > maxIdempotencyKey:
		return "", badKey("must have at most 255 characters")
	case strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) >= 0:
		return "", badKey("must consist of printable ASCII characters")
	}
	return key, nil
}

// unquoteString reads a String of Structured Field Values (RFC 9651, section
// 3.3.3). In such a String a backslash can only escape a quote or a backslash.
func unquoteString(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			i++
			if i == len(s) || (s[i] != '"' && s[i] != '\\') {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

func badKey(message string) *handler.Problem {
	p := handler.Problemf(http.StatusBadRequest, "the Idempotency-Key header cannot be read: it %s", message)
	p.Errors = []handler.ProblemField{{Field: HeaderIdempotencyKey, Location: "header", Message: message}}
	return p
}
