package terminal

import (
	"regexp"
	"strings"
)

var plainWord = regexp.MustCompile(`^[\w.:@/+,-]+$`)

// ShellWord writes a text as one word of a POSIX shell, so that people can copy the
// command in which it stands. In a word that needs quoting, control characters and runs of
// spaces become one space; see OneLine.
func ShellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(OneLine(text, 0), "'", `'\''`) + "'"
}
