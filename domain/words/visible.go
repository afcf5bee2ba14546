package words

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Visible replaces the characters of a text that cannot be seen, or that change how
// others are shown: control characters, overrides of the writing direction,
// characters without width. Line breaks, tabs and the joiners that scripts and
// emoji need stay. Invalid UTF-8 becomes the replacement character.
func Visible(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if !strings.ContainsFunc(text, isHidden) {
		return text
	}
	var shown strings.Builder
	for _, r := range text {
		if isHidden(r) {
			shown.WriteString(picture(r))
		} else {
			shown.WriteRune(r)
		}
	}
	return shown.String()
}

func isHidden(r rune) bool {
	switch r {
	case '\n', '\t', '\u200c', '\u200d':
		return false
	case '\u2028', '\u2029': // end lines where nobody expects it
		return true
	default:
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	}
}

// picture returns what is shown in place of a character that cannot be seen:
// Unicode's own picture of it, or its number.
func picture(r rune) string {
	switch {
	case r < 0x20:
		return string('\u2400' + r)
	case r == 0x7f:
		return "\u2421"
	default:
		return fmt.Sprintf("‹U+%04X›", r)
	}
}

var pictures = regexp.MustCompile(`‹U\+([0-9A-F]{4,6})›|[\x{2400}-\x{241f}\x{2421}]`)

// Original turns the pictures of Visible back into the characters that they stand for.
func Original(text string) string {
	return pictures.ReplaceAllStringFunc(text, func(shown string) string {
		first := []rune(shown)[0]
		switch {
		case first == '\u2421':
			return "\x7f"
		case first != '‹':
			return string(first - '\u2400')
		}
		number, err := strconv.ParseInt(strings.Trim(shown, "‹U+›"), 16, 32)
		if r := rune(number); err == nil && isHidden(r) {
			return string(r)
		}
		return shown
	})
}
