package terminal

import (
	"strings"
	"testing"
	"unicode"
)

// hostile is text that an attacker may put into an event type, a header or an error,
// for a person to read at a terminal.
const hostile = "a\nlevel=ERROR msg=\"forged\"\r\x1b[2J\x1b]0;title\a\u009b31m\u202egnol\x00\x7f"

func FuzzOneLine(f *testing.F) {
	f.Add(hostile, 0)
	f.Add("two\twords", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(limit, 0)
		line := OneLine(text, limit)
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q became %q", text, line)
		}
		if n := len([]rune(line)); limit > 0 && n > limit {
			t.Errorf("%q has %d characters, more than %d", line, n, limit)
		}
	})
}
