package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"outboxd/app/bench/spec"
	"outboxd/app/command"
	"outboxd/app/daemon"
	"outboxd/app/logging"
	"outboxd/config"
)

// Build identifies the binary.
type Build = daemon.Build

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // something did not work
	exitUsage   = 2 // the command line or the configuration is wrong
)

// Main runs the command line and returns the exit code. SIGINT, SIGTERM and, except under nohup, SIGHUP make a running
// daemon drain and end; a second SIGINT or SIGTERM ends the process at once. The last parameter has benchmarks in
// addition to outboxd's own.
func Main(args, environ []string, stdout, stderr io.Writer, build Build, more ...spec.Bench) int {
	ctx, stop := notifyContext(context.Background())
	defer stop()
	root := command.New(environ, build, more...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	// Perhaps nobody reads the process's output any more. The process must still end, so
	// writing the output must not block for long.
	last := logging.Steady(stderr)
	var mistake config.Mistake
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &mistake):
		fmt.Fprintln(last, "outboxd:", err)
		return exitUsage
	default:
		fmt.Fprintln(last, "outboxd:", err)
		return exitFailure
	}
}
