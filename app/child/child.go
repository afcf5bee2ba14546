// Package child starts child processes that end when this process ends, even if
// this process is killed.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a running child. Its methods may be called concurrently.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts cmd in a process group of its own, so that Ctrl-C reaches only this process and not the child. When
// this process dies, the kernel (on other systems than Linux, a shell) sends the given signal to the child.
func Start(cmd *exec.Cmd, death syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	prepare(cmd.SysProcAttr, death)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The kernel sends the signal when the thread that started the child ends, so this thread must live as long as
		// the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		bound := bindLife(cmd.Process.Pid, death)
		p.err = cmd.Wait()
		bound()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// OS returns the child as an os.Process.
func (p *Process) OS() *os.Process { return p.cmd.Process }

// Done returns a channel that is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// State returns how the child ended. Call it only after the channel of Done is closed.
func (p *Process) State() *os.ProcessState { return p.cmd.ProcessState }

// Err returns the error of Wait: nil if the child exited with 0. Call it only after
// the channel of Done is closed.
func (p *Process) Err() error { return p.err }

// Signal sends a signal. It is no error if the child has ended.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", signal, p.cmd.Process.Pid, err)
	}
	return nil
}
