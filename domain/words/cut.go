package words

// Cut returns the first limit characters of a text, followed by an ellipsis if the text is longer.
func Cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
