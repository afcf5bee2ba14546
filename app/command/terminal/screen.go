package terminal

import (
	"bytes"
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"outboxd/app/logging"
)

// Screen shows one view over the other on a terminal, and one after the other
// elsewhere.
type Screen struct {
	w       io.Writer
	restore func() // nil: no terminal
}

// OpenScreen takes the terminal over, if w is one: an alternate screen without a
// cursor, and keys as they are pressed. The context that it returns ends with ctx, or when q or
// Ctrl-C is pressed.
func OpenScreen(ctx context.Context, w io.Writer) (context.Context, *Screen, error) {
	s := &Screen{w: w}
	keyboard := int(os.Stdin.Fd())
	if !logging.IsTerminal(w) || !term.IsTerminal(keyboard) {
		return ctx, s, nil
	}
	before, err := term.MakeRaw(keyboard)
	if err != nil {
		return ctx, nil, err
	}
	_, _ = io.WriteString(w, "\x1b[?1049h\x1b[?25l")
	ctx, cancel := context.WithCancel(ctx)
	s.restore = func() {
		cancel()
		_, _ = io.WriteString(w, "\x1b[?25h\x1b[?1049l")
		_ = term.Restore(keyboard, before)
	}
	// It ends with the process: a read of a terminal cannot be taken back.
	go func() {
		const ctrlC, ctrlD = 3, 4
		for key := make([]byte, 1); ; {
			if n, err := os.Stdin.Read(key); err != nil || n == 1 && (key[0] == 'q' || key[0] == 'Q' || key[0] == ctrlC || key[0] == ctrlD) {
				cancel()
				return
			}
		}
	}()
	return ctx, s, nil
}

// Close gives the terminal back.
func (s *Screen) Close() {
	if s.restore != nil {
		s.restore()
	}
}

// Show prints a view. What does not fit the terminal's height is left out.
func (s *Screen) Show(draw func(io.Writer) error) error {
	var text bytes.Buffer
	if err := draw(&text); err != nil {
		return err
	}
	if s.restore == nil {
		text.WriteByte('\n')
		_, err := s.w.Write(text.Bytes())
		return err
	}
	lines := bytes.Split(bytes.TrimRight(text.Bytes(), "\n"), []byte("\n"))
	if file, ok := s.w.(*os.File); ok {
		if _, height, err := term.GetSize(int(file.Fd())); err == nil && height > 1 && len(lines) > height-1 {
			lines = lines[:height-1]
		}
	}
	// Each line is cleared to its end, and then what is below: clearing all of
	// the screen first would flicker. A line that is too long is cut by the terminal.
	var frame bytes.Buffer
	frame.WriteString("\x1b[H\x1b[?7l")
	for _, line := range lines {
		frame.Write(line)
		frame.WriteString("\x1b[K\r\n")
	}
	frame.WriteString("\x1b[J\x1b[?7h")
	_, err := s.w.Write(frame.Bytes())
	return err
}
