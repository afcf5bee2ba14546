package embedded

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"outboxd/app/child"
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

// server is a child process that runs a server.
type server struct{ *child.Process }

// spawn starts a process that ends with this one. It outlives the drain: see child.Start.
func spawn(c command) (*server, error) {
	cmd := exec.Command(c.program, c.args...) //nolint:gosec,noctx // a server's program, which must outlive the context of its start
	cmd.Dir = "/"                             // the account may not be able to enter the working directory
	cmd.Env = c.env
	cmd.Stdin = c.stdin
	cmd.Stdout, cmd.Stderr = c.output, c.output
	cmd.ExtraFiles = []*os.File{c.held}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account.credential}
	p, err := child.Start(cmd, c.death)
	if err != nil {
		return nil, err
	}
	return &server{p}, nil
}

func (p *server) process() *os.Process   { return p.OS() }
func (p *server) ended() <-chan struct{} { return p.Done() }

// cause may be called once ended is closed.
func (p *server) cause() error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// stopBy sends each signal in turn, the first at once and the next ones when ctx is done and then every three seconds, and at last SIGKILL.
func (p *server) stopBy(ctx context.Context, signals ...syscall.Signal) {
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

// stopSoon stops a child that did not become ready, whose data need no gentle treatment.
func (p *server) stopSoon(signals ...syscall.Signal) {
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
