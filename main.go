// Command outboxd relays events from a PostgreSQL outbox to Asynq.
package main

import (
	"os"

	"outboxd/app"
)

// The Makefile sets these variables at link time.
var (
	version = "dev"
	commit  = "unknown"
	date    = "unknown"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, app.Build{Version: version, Commit: commit, Date: date}))
}
