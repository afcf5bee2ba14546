package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// notifyContext returns a context that ends with the first SIGINT, SIGTERM or SIGHUP.
// From then on SIGINT and SIGTERM have their default effect: a second one ends the
// process at once. A second SIGHUP never ends the process at once: when a terminal
// is closed, the kernel and the shell each send a SIGHUP, and a service manager may
// send one after SIGTERM.
//
// Under nohup the process keeps ignoring SIGHUP. SIGHUP does not reopen a log file,
// because outboxd logs to standard error.
func notifyContext(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	arrived := make(chan os.Signal, 1)
	wanted := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	signal.Notify(arrived, wanted...)
	go func() {
		select {
		case <-arrived:
			signal.Reset(syscall.SIGINT, syscall.SIGTERM)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); signal.Stop(arrived) }
}
