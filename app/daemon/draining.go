package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/run"
)

// stage says when an actor is stopped while the process drains: the actors of an
// earlier stage are stopped first. The lineup stops the actors of a stage when all
// actors of the earlier stages have returned.
type stage int

// The order of draining: first the API accepts no new requests, then the relay
// finishes its batches, then the worker finishes its tasks. The monitor answers
// until the end, so that people can watch.
const (
	stageAPI stage = iota
	stageRelay
	stageWorker
	stageMonitor
	stages
)

// lineup runs all actors of a process. When the process drains, it stops the actors in
// a fixed order.
type lineup struct {
	group   run.Group
	log     *slog.Logger
	patient time.Duration // for all of draining

	draining chan struct{}
	begin    sync.Once
	stages   [stages]struct {
		ctx    context.Context
		cancel context.CancelFunc
		actors sync.WaitGroup
	}

	mu      sync.Mutex
	running []string
	over    []string // actors that have returned
	late    []error  // of actors that failed while the process drained
}

// newLineup returns a lineup without actors. The actors get contexts derived from
// ctx. ctx must not end before the actors have ended, because they have to end
// stage by stage and not all at once.
func newLineup(ctx context.Context, patience time.Duration, log *slog.Logger) *lineup {
	l := &lineup{log: log, patient: patience, draining: make(chan struct{})}
	for i := range l.stages {
		s := &l.stages[i]
		s.ctx, s.cancel = context.WithCancel(ctx)
	}
	return l
}

// add adds an actor. The actor must block until its context ends or until it fails.
// When any actor returns, the whole process begins to drain.
func (l *lineup) add(at stage, name string, actor func(context.Context) error) {
	s := &l.stages[at]
	s.actors.Add(1)
	l.running = append(l.running, name)
	l.group.Add(func() error {
		defer s.actors.Done()
		defer l.finished(name)
		err := actor(s.ctx)
		if err == nil && s.ctx.Err() == nil {
			return fmt.Errorf("%s stopped without being asked to", name)
		}
		// The run group returns only the first error, which begins the draining.
		if err != nil && l.isDraining() {
			l.failedLate(err)
		}
		return err
	}, func(error) { l.drain() })
}

// drain stops the stages one after another in the background. drain returns at
// once, because the run group calls the actors' interrupt functions in sequence.
func (l *lineup) drain() {
	l.begin.Do(func() {
		close(l.draining)
		go func() {
			for i := range l.stages {
				l.stages[i].cancel()
				l.stages[i].actors.Wait()
			}
		}()
	})
}

// run runs all actors. run returns nil if the context ended and everything drained
// in time and without a failure.
func (l *lineup) run(ctx context.Context) error {
	execute, interrupt := run.ContextHandler(ctx)
	l.group.Add(execute, func(err error) { interrupt(err); l.drain() })
	result := make(chan error, 1)
	go func() { result <- l.group.Run() }()
	select {
	case err := <-result:
		return l.verdict(ctx, err)
	case <-l.draining:
	}
	if ctx.Err() != nil {
		l.log.Info("draining; a second signal ends the process at once", "patience", l.patient)
	}
	deadline := time.NewTimer(l.patient)
	defer deadline.Stop()
	select {
	case err := <-result:
		return l.verdict(ctx, err)
	case <-deadline.C:
		return l.verdict(ctx, fmt.Errorf("not drained within %v (--shutdown-timeout): still running: %s; nothing is lost, unfinished work is done again at the next start",
			l.patient, strings.Join(l.left(), ", ")))
	}
}

// verdict returns the error with which the process ends. That is err, unless err only says
// that ctx ended. Then it is the error of the first actor that failed while the process
// drained. verdict logs the errors of the other actors that failed.
func (l *lineup) verdict(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, late := range l.late {
		if err == nil {
			err = late
			continue
		}
		l.log.Warn("a part of the process failed while it drained", "error", late)
	}
	return err
}

func (l *lineup) failedLate(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = append(l.late, err)
}

func (l *lineup) finished(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.running, name); i >= 0 {
		l.running = slices.Delete(l.running, i, i+1)
		l.over = append(l.over, name)
	}
}

// ended returns the names of the actors that have returned.
func (l *lineup) ended() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.over)
}

func (l *lineup) left() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Compact(slices.Clone(l.running))
}

// isDraining reports whether the process is shutting down.
func (l *lineup) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}
