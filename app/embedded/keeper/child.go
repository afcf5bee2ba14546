package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"outboxd/app/child"
)

// Command describes a child process.
type Command struct {
	Program string
	Args    []string
	Env     []string
	Stdin   io.Reader
	Output  *os.File // for both outputs: a file, so that no pipe breaks when this process dies
	Held    *os.File // lock that the child inherits
	Death   syscall.Signal
	Account Account
}

// Child is a child process that runs a server.
type Child struct{ *child.Process }

// Spawn starts a child process that ends when this process ends. No context ends
// the child. See child.Start.
func Spawn(c Command) (*Child, error) {
	cmd := exec.Command(c.Program, c.Args...) //nolint:gosec,noctx // a server's program, which must outlive the context of its start
	cmd.Dir = "/"                             // the account may not be able to enter the working directory
	cmd.Env = c.Env
	cmd.Stdin = c.Stdin
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.ExtraFiles = []*os.File{c.Held}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Account.credential}
	p, err := child.Start(cmd, c.Death)
	if err != nil {
		return nil, err
	}
	return &Child{p}, nil
}

// Ended returns a channel that is closed when the process has ended.
func (p *Child) Ended() <-chan struct{} { return p.Done() }

// Cause returns why the process ended. Call it only after the channel of Ended is closed.
func (p *Child) Cause() error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// StopBy sends the first signal at once. If the process still runs when ctx is done, StopBy sends the next of the
// signals, and then a further one every three seconds; the last one is SIGKILL.
func (p *Child) StopBy(ctx context.Context, signals ...syscall.Signal) {
	wait := ctx.Done()
	for _, signal := range append(signals, syscall.SIGKILL) {
		_ = p.Signal(signal)
		select {
		case <-p.Done():
			return
		case <-wait:
		}
		expired, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		wait = expired.Done()
	}
	<-p.Done()
}

// StopSoon stops a child that did not become ready. StopSoon waits two seconds
// before it sends the next signal.
func (p *Child) StopSoon(signals ...syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	p.StopBy(ctx, signals...)
}

// Environment returns this process's environment without variables that begin
// with the given prefixes, and with extra appended. Environment also leaves out the variables of a service
// manager, so that the server does not report to the service manager in place of
// this process.
func Environment(extra []string, without ...string) []string {
	without = append(slices.Clone(without), "NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_")
	var env []string
next:
	for _, variable := range os.Environ() {
		for _, prefix := range without {
			if strings.HasPrefix(variable, prefix) {
				continue next
			}
		}
		env = append(env, variable)
	}
	return append(env, extra...)
}

// NotReady returns the error for a server that did not become ready in time. The
// error contains the context's error and the error of the last attempt.
func NotReady(ctx context.Context, last error) error {
	return fmt.Errorf("%w; the last attempt: %v", ctx.Err(), last) //nolint:errorlint // only the first one is the cause
}
