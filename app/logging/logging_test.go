package logging_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"

	"outboxd/app/logging"
	"outboxd/config"
)

// hostile is text that an attacker may put into an event type, a header or an error,
// for a person to read at a terminal.
const hostile = "a\nlevel=ERROR msg=\"forged\"\r\x1b[2J\x1b]0;title\a\u009b31m\u202egnol\x00\x7f"

func TestLogLinesCannotBeForged(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := logging.New(&out, config.Log{Level: "debug", Format: format})
		log.InfoContext(context.Background(), hostile, "type", hostile, "error", errors.New(hostile), "list", []string{hostile}, hostile, 1)
		text := out.String()
		if strings.Count(text, "\n") != 1 || strings.IndexFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return r < ' ' }) >= 0 {
			t.Errorf("%s: more than one line, or control characters: %q", format, text)
		}
		if format == "text" && strings.IndexFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("text has characters that a terminal obeys: %q", text)
		}
	}
}
