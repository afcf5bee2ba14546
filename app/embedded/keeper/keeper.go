package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// If a server's owner died, the server is told to stop after orphanGrace and killed after
// orphanLimit.
const (
	orphanGrace = 2 * time.Second
	orphanLimit = 10 * time.Second
)

// StartLimit bounds one start, including crash recovery of the database, for callers whose context
// has no deadline.
const StartLimit = 2 * time.Minute

// Engine is the part that differs between the servers.
type Engine interface {
	// Name returns the prefix of the names of the lock and the state file.
	Name() string
	// Title returns the name for people.
	Title() string
	// Launch starts the server and returns when it answers. The child inherits held, so that the
	// lock lasts as long as the server, even if this process dies. After an error nothing is left
	// running.
	Launch(ctx context.Context, held *os.File) (Instance, error)
	// StopSignal returns the signal that ends the server in order.
	StopSignal() syscall.Signal
	// Answers returns nil if the server of another process can be used now.
	Answers(ctx context.Context, s State) error
}

// Instance is a server that this process has launched.
type Instance interface {
	State() State
	OS() *os.Process // nil: it lives inside this process
	// Ended is closed when the server is gone. Then Cause returns the reason.
	Ended() <-chan struct{}
	Cause() error
	// Stop ends the server, by force once ctx is done.
	Stop(ctx context.Context) error
}

// Keeper is this process's part in one server, which it owns or has joined. Each server has its own
// lock and state. So a process that needs only the database and one that needs both servers can
// share a data directory, whichever starts first.
type Keeper struct {
	engine Engine
	folder *Folder
	log    *slog.Logger
	failed chan<- error

	mu       sync.Mutex
	running  Instance // nil if joined
	held     *lock
	known    State
	cancel   context.CancelFunc
	watching chan struct{}
}

// New returns a Keeper for the server of an engine. It reports a server that ends to failed.
func New(e Engine, f *Folder, log *slog.Logger, failed chan<- error) *Keeper {
	return &Keeper{engine: e, folder: f, log: log, failed: failed}
}

// Start launches the server or joins it. If another process has the lock, it waits until the owner
// publishes a state, or until the owner has died, its server has ended and the lock is free.
func (k *Keeper) Start(ctx context.Context) error {
	var orphaned, told time.Time
	for {
		held, err := k.folder.lock(k.engine.Name())
		if err != nil {
			return err
		}
		if held != nil {
			return k.own(ctx, held)
		}
		published, ok := k.folder.published(k.engine.Name())
		alive := k.folder.ownerAlive(k.engine.Name())
		if ok && alive && k.engine.Answers(ctx, published) == nil {
			k.join(published)
			return nil
		}
		switch now := time.Now(); {
		case alive:
			orphaned = time.Time{}
		case orphaned.IsZero():
			orphaned, told = now, now
		case ok && now.Sub(told) > orphanGrace:
			k.stopOrphan(published.PID, now.Sub(orphaned) > orphanLimit)
			told = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s in %s is locked by another process (%s) that did not become ready: %w",
				k.engine.Title(), k.folder.Path, k.folder.holder(k.engine.Name()), ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// stopOrphan stops a server that outlived its owner. That happens only if the kernel did not signal
// the owner's death, or the server hangs. The server still holds the lock that it inherited. The
// program is checked because containers may share a data directory, and then the number may mean
// another process here.
func (k *Keeper) stopOrphan(pid int, hard bool) {
	program := ProgramOf(pid)
	if !strings.HasPrefix(program, "postgres") && !strings.HasPrefix(program, "redis") && !strings.HasPrefix(program, "valkey") {
		return
	}
	k.log.Warn("stop "+k.engine.Title()+" that a dead process left behind", "pid", pid)
	signal := k.engine.StopSignal()
	if hard {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(pid, signal) // if the server is gone by now, its lock is too
}

func (k *Keeper) own(ctx context.Context, held *lock) error {
	if err := k.launch(ctx, held); err != nil {
		held.release()
		return err
	}
	k.watch(k.guard)
	return nil
}

// launch starts the server under the lock and publishes it. It does not release the lock when it fails.
func (k *Keeper) launch(ctx context.Context, held *lock) error {
	began := time.Now()
	// While this owner starts, no process may read the state that an earlier
	// owner published.
	if err := k.folder.withdraw(k.engine.Name()); err != nil {
		return err
	}
	if err := held.announceOwner(); err != nil {
		return err
	}
	running, err := k.engine.Launch(ctx, held.file)
	if err != nil {
		return err
	}
	s := running.State()
	s.Owner = os.Getpid()
	if err := k.folder.publish(k.engine.Name(), s); err != nil {
		return errors.Join(err, running.Stop(ctx))
	}
	k.mu.Lock()
	k.running, k.held, k.known = running, held, s
	k.mu.Unlock()
	k.log.Info("embedded "+k.engine.Title()+" runs", "version", s.Version, "pid", s.PID, "data", s.Data, "shell", s.Shell,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

func (k *Keeper) join(s State) {
	k.mu.Lock()
	k.known = s
	k.mu.Unlock()
	k.log.Info("joined the embedded "+k.engine.Title()+" of another process on the same data directory", "owner", s.Owner,
		"version", s.Version, "pid", s.PID, "data", s.Data, "shell", s.Shell)
	k.watch(k.succeed)
}

func (k *Keeper) watch(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cancel, k.watching = cancel, make(chan struct{})
	go func() {
		defer close(k.watching)
		run(ctx)
	}()
}

// guard reports the end of an owned server.
func (k *Keeper) guard(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-k.running.Ended():
		err := k.folder.withdraw(k.engine.Name())
		k.failed <- errors.Join(fmt.Errorf("embedded %s ended: %w", k.engine.Title(), k.running.Cause()), err)
	}
}

// succeed waits until the lock of a joined server is free, which means that owner and server are
// gone. Then it starts the server here. If several processes have joined, one gets the lock, and
// the others are joined to it without a change.
func (k *Keeper) succeed(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := k.folder.lock(k.engine.Name())
		switch {
		case err != nil:
			k.failed <- err
			return
		case held != nil:
			k.inherit(ctx, held)
			return
		}
		if s, ok := k.folder.published(k.engine.Name()); ok && s.URL != k.Current().URL {
			k.failed <- fmt.Errorf("joined embedded %s was started again at another address", k.engine.Title())
			return
		}
	}
}

func (k *Keeper) inherit(ctx context.Context, held *lock) {
	before := k.Current()
	k.log.Warn("the process that owned the shared embedded "+k.engine.Title()+" is gone: starting it here", "owner", before.Owner)
	starting, cancel := context.WithTimeout(ctx, StartLimit)
	defer cancel()
	if err := k.launch(starting, held); err != nil {
		held.release()
		if ctx.Err() == nil {
			k.failed <- fmt.Errorf("start embedded %s in place of process %d: %w", k.engine.Title(), before.Owner, err)
		}
		return
	}
	if k.Current().URL != before.URL {
		k.failed <- fmt.Errorf("embedded %s could not be started again at the same address", k.engine.Title())
		return
	}
	k.guard(ctx)
}

// Close stops the server if this process owns it, by force once ctx is done. It leaves a joined
// server alone. A nil Keeper has no server.
func (k *Keeper) Close(ctx context.Context) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	cancel, watching := k.cancel, k.watching
	k.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	<-watching
	if k.running == nil {
		return nil
	}
	// The state goes first, so that no process joins a stopping server. The lock goes last, so that
	// no process starts another one before.
	err := errors.Join(k.folder.withdraw(k.engine.Name()), k.running.Stop(ctx))
	k.held.release()
	return err
}

// Current returns the state of the server.
func (k *Keeper) Current() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

// Address returns the URL of the server; empty for a nil Keeper.
func (k *Keeper) Address() string {
	if k == nil {
		return ""
	}
	return k.Current().URL
}

// OS returns the process of the server if this process owns it, else nil.
func (k *Keeper) OS() *os.Process {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil {
		return nil
	}
	return k.running.OS()
}
