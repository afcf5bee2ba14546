package embedded

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

// A server whose owner died is told to stop if it has not noticed by itself after orphanGrace, and killed after orphanLimit.
const (
	orphanGrace = 2 * time.Second
	orphanLimit = 10 * time.Second
)

// engine is what differs between the servers.
type engine interface {
	// name is the prefix of the lock and of the state file.
	name() string
	// title is the name that a person reads.
	title() string
	// launch starts the server and returns when it answers. The child inherits held, so that the lock outlives this process as long as
	// the server does. On error nothing keeps running.
	launch(ctx context.Context, held *os.File) (instance, error)
	// answers tells whether the server of another process can be used now.
	answers(ctx context.Context, s state) error
}

// instance is a server that this process has launched.
type instance interface {
	state() state
	process() *os.Process
	// ended is closed when the server is gone; cause tells why from then on.
	ended() <-chan struct{}
	cause() error
	// stop ends the server, the hard way once ctx is done.
	stop(ctx context.Context) error
}

// keeper holds this process's part in one server: it owns it, or has joined it. One lock and one state per server, so that a process
// that needs only the database and one that needs both can share a data directory in either order.
type keeper struct {
	engine engine
	folder *folder
	log    *slog.Logger
	failed chan<- error

	mu       sync.Mutex
	running  instance // nil if joined
	held     *lock
	known    state
	cancel   context.CancelFunc
	watching chan struct{}
}

func newKeeper(e engine, f *folder, log *slog.Logger, failed chan<- error) *keeper {
	return &keeper{engine: e, folder: f, log: log, failed: failed}
}

// start owns the server or joins it. A process that finds the lock taken waits: for the owner to publish a state, or, if the owner dies
// meanwhile, for its servers to end and the lock to become free.
func (k *keeper) start(ctx context.Context) error {
	var orphaned, told time.Time
	for {
		held, err := k.folder.lock(k.engine.name())
		if err != nil {
			return err
		}
		if held != nil {
			return k.own(ctx, held)
		}
		published, ok := k.folder.published(k.engine.name())
		alive := k.folder.ownerAlive(k.engine.name())
		if ok && alive && k.engine.answers(ctx, published) == nil {
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
				k.engine.title(), k.folder.path, k.folder.holder(k.engine.name()), ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// stopOrphan stops a server that outlived its owner, which happens only where the kernel did not tell it of that death, or where it hangs.
// The lock that the server inherited is still held; the look at the program is for data directories that containers share, in which
// the number means another process here.
func (k *keeper) stopOrphan(pid int, hard bool) {
	program := programOf(pid)
	if !strings.HasPrefix(program, "postgres") && !strings.HasPrefix(program, "redis") && !strings.HasPrefix(program, "valkey") {
		return
	}
	k.log.Warn("stop "+k.engine.title()+" that a dead process left behind", "pid", pid)
	signal := stopSignal(k.engine)
	if hard {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(pid, signal) // if it is gone by now, so is its lock
}

func (k *keeper) own(ctx context.Context, held *lock) error {
	if err := k.launch(ctx, held); err != nil {
		held.release()
		return err
	}
	k.watch(k.guard)
	return nil
}

// launch starts the server under the lock and publishes it. It does not release the lock when it fails.
func (k *keeper) launch(ctx context.Context, held *lock) error {
	began := time.Now()
	// A state of an earlier owner must not be believed while this one starts.
	if err := k.folder.withdraw(k.engine.name()); err != nil {
		return err
	}
	if err := held.announceOwner(); err != nil {
		return err
	}
	running, err := k.engine.launch(ctx, held.file)
	if err != nil {
		return err
	}
	s := running.state()
	s.Owner = os.Getpid()
	if err := k.folder.publish(k.engine.name(), s); err != nil {
		return errors.Join(err, running.stop(ctx))
	}
	k.mu.Lock()
	k.running, k.held, k.known = running, held, s
	k.mu.Unlock()
	k.log.Info("embedded "+k.engine.title()+" runs", "version", s.Version, "pid", s.PID, "data", s.Data, "shell", s.Shell,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

func (k *keeper) join(s state) {
	k.mu.Lock()
	k.known = s
	k.mu.Unlock()
	k.log.Info("joined the embedded "+k.engine.title()+" of another process on the same data directory", "owner", s.Owner,
		"version", s.Version, "pid", s.PID, "data", s.Data, "shell", s.Shell)
	k.watch(k.succeed)
}

func (k *keeper) watch(run func(context.Context)) {
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
func (k *keeper) guard(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-k.running.ended():
		err := k.folder.withdraw(k.engine.name())
		k.failed <- errors.Join(fmt.Errorf("embedded %s ended: %w", k.engine.title(), k.running.cause()), err)
	}
}

// succeed waits for the lock of a joined server to become free, which means that owner and server are gone, and then starts the server
// here. Of several joined processes one gets the lock, and the others have joined that one without noticing.
func (k *keeper) succeed(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := k.folder.lock(k.engine.name())
		switch {
		case err != nil:
			k.failed <- err
			return
		case held != nil:
			k.inherit(ctx, held)
			return
		}
		if s, ok := k.folder.published(k.engine.name()); ok && s.URL != k.current().URL {
			k.failed <- fmt.Errorf("joined embedded %s was started again at another address", k.engine.title())
			return
		}
	}
}

func (k *keeper) inherit(ctx context.Context, held *lock) {
	before := k.current()
	k.log.Warn("the process that owned the joined embedded "+k.engine.title()+" is gone: starting it here", "owner", before.Owner)
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := k.launch(starting, held); err != nil {
		held.release()
		if ctx.Err() == nil {
			k.failed <- fmt.Errorf("start embedded %s in place of process %d: %w", k.engine.title(), before.Owner, err)
		}
		return
	}
	if k.current().URL != before.URL {
		k.failed <- fmt.Errorf("embedded %s could not be started again at the same address", k.engine.title())
		return
	}
	k.guard(ctx)
}

func (k *keeper) close(ctx context.Context) error {
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
	// First the state, so that nobody joins a server that is about to stop; the lock last, so that nobody starts one before.
	err := errors.Join(k.folder.withdraw(k.engine.name()), k.running.stop(ctx))
	k.held.release()
	return err
}

func (k *keeper) current() state {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

func (k *keeper) address() string {
	if k == nil {
		return ""
	}
	return k.current().URL
}

func (k *keeper) process() *os.Process {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil {
		return nil
	}
	return k.running.process()
}
