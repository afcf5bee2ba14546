package words

// Cut shortens a text to that many characters, and an ellipsis that says so.
func Cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
