// Package words splits text that a person wrote into an option, and makes the text fit
// for messages. It knows no option.
package words

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// List returns the entries of a comma-separated list, without the empty ones.
func List(text string) []string {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Quote returns a user's text in quotes, cut to 60 bytes and with control characters
// escaped, so that a message can show it.
func Quote(text string) string {
	const limit = 60
	if len(text) > limit {
		return strconv.Quote(strings.ToValidUTF8(text[:limit], "")) + "…"
	}
	return strconv.Quote(text)
}

// IsPlain reports whether a value is valid UTF-8 without control characters, so that YAML
// and a log can show it as it is.
func IsPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// IsVisible reports whether a text has only printable characters (unicode.IsPrint).
// A text with an invisible character could look like another text.
func IsVisible(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// ErrNotPlain is the error for a value for which IsPlain returns false.
var ErrNotPlain = errors.New("the value holds control characters or is not UTF-8")
