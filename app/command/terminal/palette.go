package terminal

import (
	"io"
	"slices"
	"strings"

	"outboxd/app/logging"
)

// Palette colours text for a terminal, and leaves it unchanged elsewhere.
type Palette struct{ on bool }

// NewPalette returns a Palette with colours if w is a terminal and the environment allows
// it. NO_COLOR forbids colours (no-color.org), and so does TERM=dumb.
func NewPalette(w io.Writer, environ []string) Palette {
	objects := slices.ContainsFunc(environ, func(setting string) bool {
		name, value, _ := strings.Cut(setting, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
	return Palette{on: logging.IsTerminal(w) && !objects}
}

func (p Palette) paint(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold returns the text in bold, if the palette has colours.
func (p Palette) Bold(text string) string { return p.paint("1", text) }

// Dim returns the text dimmed, if the palette has colours.
func (p Palette) Dim(text string) string { return p.paint("2", text) }

// Red returns the text in red, if the palette has colours.
func (p Palette) Red(text string) string { return p.paint("31", text) }

// Green returns the text in green, if the palette has colours.
func (p Palette) Green(text string) string { return p.paint("32", text) }

// Yellow returns the text in yellow, if the palette has colours.
func (p Palette) Yellow(text string) string { return p.paint("33", text) }
