package logging

import (
	"bytes"
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"

	"outboxd/config"
	"outboxd/handler"
)

// New returns the logger of the process. The format auto is text on a terminal and JSON
// elsewhere. If a line of the log cannot be written to w, the line is lost and the
// process goes on.
func New(w io.Writer, c config.Log) *slog.Logger {
	lines := func(w io.Writer) slog.Handler { return newLogHandler(w, c) }
	if c.Format == "auto" && IsTerminal(w) {
		c.Format = "text"
	}
	steady := &writer{w: w, notice: func(lost int) []byte {
		var line bytes.Buffer
		slog.New(lines(&line)).Error("the log could not be written; these lines are missing", "lines", lost)
		return line.Bytes()
	}}
	// Libraries such as GORM log with this logger too, and their lines may belong
	// to an HTTP request. So add the request's ID here.
	return slog.New(handler.WithRequestID(lines(steady)))
}

func newLogHandler(w io.Writer, c config.Log) slog.Handler {
	var level slog.Level
	// The configuration has been validated.
	_ = level.UnmarshalText([]byte(c.Level))
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readableDuration}
	if c.Format == "text" {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}

// readableDuration writes 1.5s instead of 1500000000 in JSON.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

// IsTerminal reports whether w is a terminal, so that a person reads the output.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}
