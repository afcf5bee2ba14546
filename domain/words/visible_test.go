package words_test

import (
	"strings"
	"testing"

	"outboxd/domain/words"
)

func TestHiddenCharactersAreMadeVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain, äöü, 日本語, 👩‍💻":  "plain, äöü, 日本語, 👩‍💻",
		"two\nlines\tand a tab": "two\nlines\tand a tab",
		"a\x1b[31mred":          "a␛[31mred",
		"nul\x00 and \x7f":      "nul␀ and ␡",
		"carriage\rreturn":      "carriage␍return",
		"next\u0085line":        "next‹U+0085›line",
		"invoice\u202efdp.exe":  "invoice‹U+202E›fdp.exe",
		"\u2066ada\u2069":       "‹U+2066›ada‹U+2069›",
		"a\u200bb\ufeffc":       "a‹U+200B›b‹U+FEFF›c",
		"a\u2028b":              "a‹U+2028›b",
		"bad \xff bytes":        "bad \ufffd bytes",
	} {
		got := words.Visible(text)
		if got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
		if words.Visible(got) != got {
			t.Errorf("%q changes when it is shown again", got)
		}
		if again := words.Original(got); again != text && !strings.Contains(text, "\xff") {
			t.Errorf("%q is read back as %q", text, again)
		}
	}
}

func TestPicturesOfOtherCharactersStay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"‹U+0041›", "‹U+110000›", "‹U+›", "␠"} {
		if got := words.Original(text); got != text {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}
