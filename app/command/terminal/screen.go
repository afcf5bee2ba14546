package terminal

import (
	"bytes"
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"outboxd/app/logging"
)

// Screen shows a view that is updated repeatedly. If output and input are terminals, each
// view replaces the last one; otherwise the views follow one another.
type Screen struct {
	w       io.Writer
	restore func() // nil: the views follow one another
}

// OpenScreen returns a Screen for w. If w and standard input are terminals, it switches to the alternate screen,
// hides the cursor, and reads keys without waiting for Enter. The returned context then ends with ctx, or when q,
// Ctrl-C or Ctrl-D is pressed. If w or standard input is no terminal, the returned context is ctx.
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
	// This goroutine lives until the process ends, because a read from a terminal
	// cannot be interrupted.
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

// Close restores the terminal.
func (s *Screen) Close() {
	if s.restore != nil {
		s.restore()
	}
}

// Show prints a view. If it replaces the last one, Show cuts it at the terminal's height.
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
	// Clear the rest of each line after writing it, and the rest of the screen
	// after the last line. Clearing the whole screen first would flicker. The
	// terminal cuts long lines.
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
