package words

// Cut shortens a text to limit characters, and ends it with an ellipsis if it
// was longer.
func Cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
