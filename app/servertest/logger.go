package servertest

import (
	"log/slog"
	"testing"
)

// Logger returns a logger that writes to the test's own log.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
