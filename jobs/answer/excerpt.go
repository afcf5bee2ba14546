package answer

import (
	"regexp"
	"strings"
	"unicode"

	"outboxd/domain/words"
)

// maxExcerpt is the largest number of characters of a server's answer that an error
// quotes.
const maxExcerpt = 200

// Excerpt returns a server's answer as an error may quote it: in one line, only with
// printable characters, and cut to maxExcerpt. Excerpt replaces each of the texts to
// hide by asterisks, in upper or lower case, because servers often repeat recipients
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
