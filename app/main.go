package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
)

// Build says what binary this is.
type Build struct{ Version, Commit, Date string }

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // something did not work
	exitUsage   = 2 // the command line or the configuration is wrong
)

// usageError marks what the person at the keyboard has to change.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Main runs the command line and returns the exit code. SIGINT and SIGTERM end
// a running daemon in order; a second one ends the process at once.
func Main(args, environ []string, stdout, stderr io.Writer, build Build) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// From the first signal on, signals have their default effect again.
	context.AfterFunc(ctx, stop)

	root := newRootCommand(environ, build)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "outboxd:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "outboxd:", err)
		return exitFailure
	}
}
