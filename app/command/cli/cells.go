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

// Documents returns the document of each entry of a list. It never returns nil, so JSON has [] for an empty list.
func Documents[T, D any](list []T, of func(*T) D) []D {
	documents := make([]D, len(list))
	for i := range list {
		documents[i] = of(&list[i])
	}
	return documents
}
