package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"outboxd/app/child"
)

// slot is the place of one process, in which a new one is started when it ends.
type slot struct {
	name string
	// command returns the process to start.
	command func() (*exec.Cmd, error)
	output  *output

	mu       sync.Mutex
	running  *child.Process // nil: none at this moment
	wanted   bool
	stopping chan struct{} // closed to end the keeper
	kept     chan struct{} // closed when the keeper has ended

	starts  int
	killed  int      // by a fault
	failed  int      // ended by itself and with an error
	stopped int      // of the failed ones: after it had logged that it was ready
	inVain  int      // how many failed last in a row, each soon after its start
	words   []string // the last line of output of each that failed
	started error    // why a process could not be started
}

func newSlot(name string, command func() (*exec.Cmd, error)) *slot {
	return &slot{name: name, command: command, output: &output{}}
}

// A process that ended stays away for restartAfter, as with a service manager that
// hardly waits. If it fails again and again, it stays away for longer each time.
const (
	restartAfter     = 50 * time.Millisecond
	restartAfterMost = time.Second // after many failures
)

// A process that fails this often in a row, each time soon after its start, does
// not fail because of a fault: even those that last longest have ended by then, such as
// a login that cannot be given back while PostgreSQL's disk is full.
const (
	hopeless = 150
	soon     = 2 * time.Second
)

// away returns how long the slot stays empty before the next start.
func (s *slot) away() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(restartAfter<<min(s.inVain, 10), restartAfterMost)
}

// health returns an error if no process can be kept in the slot.
func (s *slot) health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inVain < hopeless {
		return s.started
	}
	return fmt.Errorf("%s failed %d times in a row:\n%s", s.name, s.inVain, s.output.tail())
}

// start keeps a process running in the slot until stop. A process that ends
// with 0 has done its work and is not started again.
func (s *slot) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted {
		return
	}
	s.wanted, s.stopping, s.kept = true, make(chan struct{}), make(chan struct{})
	go func(stopping, kept chan struct{}) {
		defer close(kept)
		for s.once(stopping) {
			pause := time.NewTimer(s.away())
			select {
			case <-stopping:
				pause.Stop()
				return
			case <-pause.C:
			}
		}
	}(s.stopping, s.kept)
}

// once runs one process and tells whether another one has to follow.
func (s *slot) once(stopping <-chan struct{}) (again bool) {
	p, err := s.launch(stopping)
	if err != nil {
		return false
	}
	begun := time.Now()
	<-p.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	if p.Err() == nil {
		return false
	}
	if !s.wanted || !p.State().Exited() {
		return true
	}
	s.failed++
	if s.output.ready() {
		s.stopped++
	}
	s.inVain++
	if time.Since(begun) >= soon {
		s.inVain = 0
	}
	s.words = append(s.words, s.name+": "+s.output.last())
	return true
}

func (s *slot) launch(stopping <-chan struct{}) (*child.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-stopping:
		return nil, context.Canceled
	default:
	}
	cmd, err := s.command()
	if err == nil {
		s.output.begin()
		cmd.Stdout, cmd.Stderr = s.output, s.output
		s.running, err = child.Start(cmd, syscall.SIGKILL)
	}
	if err != nil {
		s.started = fmt.Errorf("start %s: %w", s.name, err)
		return nil, s.started
	}
	s.starts++
	return s.running, nil
}

// signal sends a signal to the process that runs at this moment. It returns a
// function that lets this process go on after SIGSTOP, or nil if no process runs.
func (s *slot) signal(signal syscall.Signal) (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.running
	if p == nil || p.Signal(signal) != nil {
		return nil
	}
	if signal == syscall.SIGKILL {
		s.killed++
	}
	return func() { _ = p.Signal(syscall.SIGCONT) } // it may be gone by then
}

// finished reports whether no process is kept in the slot any more: it has done its
// work, was stopped, or could not be started.
func (s *slot) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.kept:
		return true
	default:
		return false
	}
}

// stop asks the process to end, and kills it when ctx ends. It returns an error if it
// had to kill, if a process could not be started, or if one wrote what no fault excuses.
func (s *slot) stop(ctx context.Context) error {
	s.mu.Lock()
	if !s.wanted {
		s.mu.Unlock()
		return nil
	}
	s.wanted = false
	close(s.stopping)
	kept, running := s.kept, s.running
	s.mu.Unlock()
	if running != nil {
		_ = running.Signal(syscall.SIGCONT) // if it is gone, kept says so
		_ = running.Signal(syscall.SIGTERM)
	}
	select {
	case <-kept:
	case <-ctx.Done():
		s.signal(syscall.SIGKILL)
		<-kept
		return fmt.Errorf("%s did not end when it was asked to: %w\n%s", s.name, ctx.Err(), s.output.tail())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.started, s.output.alarm())
}
