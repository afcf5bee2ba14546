package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// command describes a child process.
type command struct {
	program string
	args    []string
	env     []string
	stdin   io.Reader
	output  *os.File // for both outputs: a file, so that no pipe breaks when this process dies
	held    *os.File // lock that the child inherits
	death   syscall.Signal
	account account
}

// child is a process of another program that ends with this one.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// spawn starts a process in its own group, so that Ctrl-C reaches this process alone and the servers outlive the drain.
func spawn(c command) (*child, error) {
	cmd := exec.Command(c.program, c.args...) //nolint:gosec,noctx // a server's program, which must outlive the context of its start
	cmd.Dir = "/"                             // the account may not be able to enter the working directory
	cmd.Env = c.env
	cmd.Stdin = c.stdin
	cmd.Stdout, cmd.Stderr = c.output, c.output
	cmd.ExtraFiles = []*os.File{c.held}
	cmd.SysProcAttr = childAttributes(c.death)
	cmd.SysProcAttr.Credential = c.account.credential
	p := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The signal at the parent's death comes when the thread that forked ends, so this thread has to last as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		bound := bindLife(cmd.Process.Pid, c.death)
		p.err = cmd.Wait()
		bound()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", c.program, err)
	}
	return p, nil
}

func (p *child) process() *os.Process   { return p.cmd.Process }
func (p *child) ended() <-chan struct{} { return p.done }

// cause may be called once ended is closed.
func (p *child) cause() error {
	if p.err != nil {
		return p.err
	}
	return errors.New("exit status 0")
}

// stopBy sends each signal in turn, the first at once and the next ones when ctx is done and then every three seconds, and at last SIGKILL.
func (p *child) stopBy(ctx context.Context, signals ...syscall.Signal) {
	wait := ctx.Done()
	for _, signal := range append(signals, syscall.SIGKILL) {
		_ = p.cmd.Process.Signal(signal)
		select {
		case <-p.done:
			return
		case <-wait:
		}
		expired, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		wait = expired.Done()
	}
	<-p.done
}

// stopSoon stops a child that did not become ready, whose data need no gentle treatment.
func (p *child) stopSoon(signals ...syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	p.stopBy(ctx, signals...)
}

// environment is this process's own without the variables of the given prefixes.
func environment(extra []string, without ...string) []string {
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
