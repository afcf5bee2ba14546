package app

import (
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"

	"outboxd/config"
	"outboxd/handler"
)

// newLogger returns the logger that everything else is given. The format auto
// is text on a terminal and JSON elsewhere.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	// The configuration has been validated.
	_ = level.UnmarshalText([]byte(c.Level))
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readableDuration}
	var lines slog.Handler = slog.NewJSONHandler(w, options)
	if c.Format == "text" || c.Format == "auto" && isTerminal(w) {
		lines = slog.NewTextHandler(w, options)
	}
	// Lines that are not the API's own, such as GORM's, belong to a request too.
	return slog.New(handler.WithRequestID(lines))
}

// readableDuration writes 1.5s where JSON would have 1500000000.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}
