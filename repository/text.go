package repository

import "strings"

// maxErrorText bounds what is kept of an error, in bytes.
const maxErrorText = 2000

// storable makes any text fit a text column: PostgreSQL takes neither NUL nor
// broken UTF-8, and a long one is cut.
func storable(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
}
