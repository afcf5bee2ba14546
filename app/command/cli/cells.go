package cli

import "outboxd/domain/words"

// OrDash returns the text, or a dash for "".
func OrDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// Unknown is printed in place of a value that could not be read.
const Unknown = "?"

// Counted writes a number for a table. nil: the number could not be read.
func Counted(n *int64) string {
	if n == nil {
		return Unknown
	}
	return words.Count(*n)
}
