package command

import (
	"io"
	"slices"
	"strings"

	"outboxd/app/logging"
)

// palette paints text for a terminal, and leaves it as it is elsewhere.
type palette struct{ on bool }

// newPalette paints if w is a terminal and nobody objects: NO_COLOR is what all
// programs agree upon (no-color.org), TERM=dumb what a terminal says that
// cannot.
func newPalette(w io.Writer, environ []string) palette {
	objects := slices.ContainsFunc(environ, func(setting string) bool {
		name, value, _ := strings.Cut(setting, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
	return palette{on: logging.IsTerminal(w) && !objects}
}

func (p palette) paint(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) bold(text string) string   { return p.paint("1", text) }
func (p palette) dim(text string) string    { return p.paint("2", text) }
func (p palette) green(text string) string  { return p.paint("32", text) }
func (p palette) yellow(text string) string { return p.paint("33", text) }
