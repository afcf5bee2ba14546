package embedded

import "strings"

// shellQuote makes a word of the shell's out of any text, and leaves plain words as they are.
func shellQuote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@=%+,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// listQuote quotes one member of a PostgreSQL setting that is a list.
func listQuote(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// redisQuote quotes a value of a Redis configuration.
func redisQuote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}
