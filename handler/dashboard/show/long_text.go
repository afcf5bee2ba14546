package show

import (
	"strings"
	"unicode/utf8"

	"outboxd/domain/words"
)

// LongText is a text of which a page shows only the beginning; the person can open
// the rest with "more".
type LongText struct {
	Short, Whole string // Short is the beginning of Whole; "" if the page shows Whole
}

const shortText = 200 // characters

// NewLongText returns a LongText of a text, without white space at both ends.
func NewLongText(text string) LongText {
	text = strings.TrimSpace(text)
	first, rest, _ := strings.Cut(text, "\n")
	if utf8.RuneCountInString(text) <= shortText && strings.Count(rest, "\n") < 2 {
		return LongText{Whole: text}
	}
	return LongText{Short: words.Cut(first, shortText), Whole: text}
}
