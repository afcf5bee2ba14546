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

// stage is a place in the order of draining. An actor is told to stop when
// every actor of the stages before its own has returned.
type stage int

// The order of draining: no new requests, then finish the batches, then finish
// the tasks. The monitor answers until the end, so that one can watch.
const (
	stageAPI stage = iota
	stageRelay
	stageWorker
	stageMonitor
	stages
)

// lineup is the run group of a process, with an order in which it drains.
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
}

// newLineup returns an empty lineup. Its actors get contexts made from ctx,
// which must outlive them: they end in order, not all at once.
func newLineup(ctx context.Context, patience time.Duration, log *slog.Logger) *lineup {
	l := &lineup{log: log, patient: patience, draining: make(chan struct{})}
	for i := range l.stages {
		s := &l.stages[i]
		s.ctx, s.cancel = context.WithCancel(ctx)
	}
	return l
}

// add gives the group an actor. It blocks until its context ends or it fails;
// any return begins the draining of all.
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
		// The group returns the error that began the draining; later ones would
		// be lost.
		if err != nil && l.isDraining() {
			l.log.Warn(name+" failed while draining", "error", err)
		}
		return err
	}, func(error) { l.drain() })
}

// drain begins to stop the stages one after another, and returns at once: the
// interrupts of a run group are called one after another too.
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

// run runs all actors. It returns nil if the context ended and everything
// drained in time.
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
		return fmt.Errorf("not drained within %v (--shutdown-timeout): still running: %s; nothing is lost, unfinished work is done again at the next start",
			l.patient, strings.Join(l.left(), ", "))
	}
}

// verdict makes the error of the actor that returned first the group's, unless
// that was the end of ctx.
func (l *lineup) verdict(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (l *lineup) finished(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.running, name); i >= 0 {
		l.running = slices.Delete(l.running, i, i+1)
	}
}

func (l *lineup) left() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Compact(slices.Clone(l.running))
}

// isDraining reports whether the process is on its way down.
func (l *lineup) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}
