package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// notifyContext returns a context that ends with the first SIGINT, SIGTERM or SIGHUP.
// From then on SIGINT and SIGTERM have their default effect: a second one ends the
// process at once. A second SIGHUP never does: the kernel and the shell each send one
// when a terminal is closed, and a service manager may send one after SIGTERM.
//
// Under nohup SIGHUP stays ignored. SIGHUP reopens nothing, because the log goes to
// standard error.
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
