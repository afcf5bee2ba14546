package cli

import (
	"fmt"
	"io"
	"strings"

	"outboxd/app/command/terminal"
)

// SayEffect prints which command shows whether events that were sent again take effect. kind is their type. If kind
// is "" or ends with *, the events may have several types, and the printed command has TYPE in place of a type.
func SayEffect(w io.Writer, kind string) {
	if kind == "" || strings.HasSuffix(kind, "*") {
		kind = "TYPE"
	}
	fmt.Fprintf(w, "outboxd types show %s says whether they take effect.\n", terminal.ShellWord(kind))
}
