package drains

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"outboxd/app/bench/env"
)

// fleet is a number of relay processes.
type fleet struct {
	cancel  context.CancelFunc
	ended   chan error // one for each process
	running int
}

// launch starts n relay processes. The fleet is never nil.
func launch(ctx context.Context, e *env.Env, n int) (*fleet, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{cancel: cancel, ended: make(chan error, n)}
	for range n {
		cmd, err := e.Command(ctx, "--roles=relay", "--monitor-addr=")
		if err != nil {
			return f, err
		}
		said := &bytes.Buffer{}
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			return f, fmt.Errorf("start a relay: %w", err)
		}
		f.running++
		go func() { f.ended <- outcome(ctx, cmd.Wait(), said) }()
	}
	return f, nil
}

var errUnasked = errors.New("it ended before it was stopped")

// outcome returns the error with which a process ended, with the end of the
// process's output; nil if the benchmark stopped the process and its exit code is 0.
func outcome(ctx context.Context, err error, said *bytes.Buffer) error {
	var exit *exec.ExitError
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.As(err, &exit) && exit.ExitCode() == 0) {
		return nil
	}
	if err == nil {
		err = errUnasked
	}
	const end = 2000
	return fmt.Errorf("%w: %s", err, said.Bytes()[max(0, said.Len()-end):])
}

// stop asks all processes to drain and returns when they have ended. It may be
// called again.
func (f *fleet) stop() error {
	f.cancel()
	var errs []error
	for ; f.running > 0; f.running-- {
		errs = append(errs, <-f.ended)
	}
	return errors.Join(errs...)
}

// await returns when n relays have registered in the database.
func (f *fleet) await(ctx context.Context, e *env.Env, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		var there int
		if err := e.Admin.QueryRow(ctx, "SELECT count(*) FROM outbox_relays").Scan(&there); err != nil {
			return fmt.Errorf("wait for the relays: %w", err)
		}
		if there >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d relays, of which %d are there: %w", n, there, ctx.Err())
		case err := <-f.ended:
			f.running--
			return fmt.Errorf("a relay ended: %w", err)
		case <-look.C:
		}
	}
}
