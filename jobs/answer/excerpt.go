package answer

import (
	"regexp"
	"strings"
	"unicode"

	"outboxd/domain/words"
)

// maxExcerpt bounds, in characters, what an error quotes of a foreign server's
// words.
const maxExcerpt = 200

// Excerpt makes a foreign server's words fit for an error: one line of
// printable characters, cut to maxExcerpt, with each of hide, in any case,
// replaced by stars. Servers like to repeat what they were sent: recipients,
// and sometimes credentials.
func Excerpt(text string, hide ...string) string {
	for _, word := range hide {
		if word != "" {
			text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(word)).ReplaceAllLiteralString(text, "***")
		}
	}
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	return words.Cut(strings.Join(strings.Fields(text), " "), maxExcerpt)
}
