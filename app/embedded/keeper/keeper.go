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

// If the owner of a server has died and the server still runs, another process asks the server to stop every
// orphanGrace, and kills it after orphanLimit.
const (
	orphanGrace = 2 * time.Second
	orphanLimit = 10 * time.Second
)

// StartLimit bounds the start of a server, even if the caller's context allows more. The start includes crash recovery
// of the database.
const StartLimit = 2 * time.Minute

// Engine is what differs between PostgreSQL and Redis.
type Engine interface {
	// Name returns the server's name, with which the names of its lock file and
	// state file begin.
	Name() string
	// Title returns the name for people.
	Title() string
	// Launch starts the server and returns when it answers. held is the file of the lock. The server process inherits
	// it, so that the lock lasts as long as the server, even if this process dies. After an error nothing is left
	// running.
	Launch(ctx context.Context, held *os.File) (Instance, error)
	// StopSignal returns the signal for a clean shutdown of the server.
	StopSignal() syscall.Signal
	// Answers asks the server that a State describes. Answers returns nil if that server can be used now.
	Answers(ctx context.Context, s State) error
}

// Instance is a server that this process has launched.
type Instance interface {
	State() State
	OS() *os.Process // nil: it lives inside this process
	// Ended returns a channel that is closed when the server has ended. Then Cause
	// returns the reason.
	Ended() <-chan struct{}
	Cause() error
	// Stop shuts the server down. If ctx ends first, Stop kills the server.
	Stop(ctx context.Context) error
}

// Keeper connects this process with one server, which this process owns or has joined. Each server has its own lock and
// state. So two processes can share a data directory even if one of them needs only the database and the other needs
// both servers.
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

// New returns a Keeper for the server of an engine. If the server ends without Close, or cannot be taken over, the
// Keeper sends one error to the channel failed, which should have room for it.
func New(e Engine, f *Folder, log *slog.Logger, failed chan<- error) *Keeper {
	return &Keeper{engine: e, folder: f, log: log, failed: failed}
}

// Start launches the server or joins it. If another process has the lock, Start waits until it can join that process's
// server. If the owner dies, Start waits until the server has ended and the lock is free, and then launches the server.
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

// stopOrphan stops a server that outlived its owner. A server outlives its owner if the kernel did not signal the
// owner's death, or if the server hangs. Such a server still holds the lock that it inherited. stopOrphan checks the
// name of the program: containers may share a data directory, and the process ID of one container may be another
// program in the other.
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

// launch starts the server and publishes its state. The caller holds the lock, and has to release it after an error.
func (k *Keeper) launch(ctx context.Context, held *lock) error {
	began := time.Now()
	// Remove the state that an earlier owner published, so that no process joins
	// that old server while this one starts.
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

// guard waits until a server that this process owns has ended, and reports that.
func (k *Keeper) guard(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-k.running.Ended():
		err := k.folder.withdraw(k.engine.Name())
		k.failed <- errors.Join(fmt.Errorf("embedded %s ended: %w", k.engine.Title(), k.running.Cause()), err)
	}
}

// succeed runs while this process is joined. It waits until the lock is free, which shows that the owner and its server
// are gone. Then it starts the server, and this process is the new owner. If several processes have joined, one of them
// gets the lock, and the others stay joined, because the address does not change.
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

// Close shuts the server down if this process owns it. If ctx ends first, Close kills the server. Close leaves a joined
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
	// Withdraw the state first, so that no process joins a server that is stopping. Release the lock last, so that no
	// process starts another server before this one has stopped.
	err := errors.Join(k.folder.withdraw(k.engine.Name()), k.running.Stop(ctx))
	k.held.release()
	return err
}

// Current returns the last known state of the server.
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

// OS returns the operating system's process of the server; nil if this process does not
// own the server.
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
