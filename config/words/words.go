// Package words takes text apart that a person wrote into an option, and makes it fit
// for messages. It knows no option.
package words

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// List returns the entries of a list, without the empty ones.
func List(text string) []string {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Quote makes a user's text safe to show inside a message.
func Quote(text string) string {
	const limit = 60
	if len(text) > limit {
		return strconv.Quote(strings.ToValidUTF8(text[:limit], "")) + "…"
	}
	return strconv.Quote(text)
}

// IsPlain reports whether a value can be written to YAML and to a log as it is.
func IsPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// ErrNotPlain says that IsPlain does not hold.
var ErrNotPlain = errors.New("the value holds control characters or is not UTF-8")
