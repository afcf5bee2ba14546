package wakeup

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	// NapFirst is the shortest time before an idle poller looks again for a due event that another transaction has
	// locked.
	NapFirst = 10 * time.Millisecond
	// A relay process that claims more than busyRate events a second polls every busyNap, and is not marked asleep.
	// Producers notify only while some relay is marked asleep. Under load, a NOTIFY in each commit costs producers
	// more than this polling costs the database.
	busyRate = 1000
	busyNap  = 2 * time.Millisecond
	// calmAfter is how long the rate must have been low before the process may be marked asleep again.
	calmAfter = 500 * time.Millisecond
)

// Options are the dependencies and the tuning of a Waker. All are required, except Subscriptions.
type Options struct {
	Presence domain.Presence
	Process  domain.RelayProcess
	// The lengths of an idle poller's sleeps; see relay.Options.
	PollInterval, PollMin, PollWithoutListen time.Duration
	// Paused reports whether an outage has stopped relaying, so that wake-ups are useless.
	Paused func() bool
	// Subscriptions, if not nil, is called when a person has changed a subscription, and whenever listening begins. It
	// must not block.
	Subscriptions func()
	Logger        *slog.Logger
}

// Waker tells the pollers of a process when there may be work, and tells
// producers whether to notify.
type Waker struct {
	presence domain.Presence
	process  domain.RelayProcess
	naps     napBounds
	log      *slog.Logger
	paused   func() bool

	subscriptions func()

	signal  chan struct{} // holds one wake-up, for one poller
	watch   chan struct{} // holds one token: the sleeping poller that has it watches the time of the next due event
	recheck chan struct{} // the watching poller's timer may be too late
	changed chan struct{} // holds one token: whether the relay should be marked asleep may have changed
	busy    atomic.Bool   // the rate was above busyRate less than calmAfter ago
	hears   atomic.Bool   // LISTEN works
	marked  atomic.Bool   // the database shows the relay as asleep, so producers notify
	idle    atomic.Int64  // sleeps since the last claim that found something, or the last call of lookOnceMore

	window rate
}

// napBounds bounds the sleeps of an idle poller. The sleeps double from shortest to the bound. The first sleeps are
// short because some producers do not notify. A producer does not notify if it wrote its event before the relay was
// marked asleep and commits after the relay's last claim. Of producers that commit at the same time, usually only
// one notifies. With short first sleeps the poller finds such an event with a delay that is about as long as its
// transaction or its commit.
type napBounds struct {
	shortest time.Duration
	longest  time.Duration // while producers notify and LISTEN works
	unheard  time.Duration // the longest while notifications may not arrive
}

// New returns a Waker. The caller runs Show, and also Listen if producers should notify.
func New(o Options) *Waker {
	w := &Waker{
		presence: o.Presence, process: o.Process, log: o.Logger, paused: o.Paused, subscriptions: o.Subscriptions,
		naps:   napBounds{o.PollMin, o.PollInterval, min(o.PollWithoutListen, o.PollInterval)},
		signal: make(chan struct{}, 1), watch: make(chan struct{}, 1),
		recheck: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	w.watch <- struct{}{}
	if w.subscriptions == nil {
		w.subscriptions = func() {}
	}
	return w
}

// Hears reports whether the relay receives notifications of the database.
func (w *Waker) Hears() bool { return w.hears.Load() }

// Busy reports whether the relay process polls without waiting for notifications.
func (w *Waker) Busy() bool { return w.busy.Load() }

// Wake wakes one sleeping poller. If no poller sleeps, the next poller that is about to sleep continues instead. A
// poller that finds a full batch wakes another poller, so one call of Wake is enough for many events.
func (w *Waker) Wake() { pace.Raise(w.signal) }

// Reconsider is called when the result of Paused may have changed, and makes the Waker ask Paused again.
func (w *Waker) Reconsider() { pace.Raise(w.changed) }

// Claimed is called after each pass, and tells the Waker how many events the pass has claimed.
func (w *Waker) Claimed(events int) {
	if events > 0 {
		w.idle.Store(0)
	}
	if w.window.add(events, time.Now()) > busyRate {
		w.setBusy(true)
	}
}

func (w *Waker) setBusy(busy bool) {
	if w.busy.Swap(busy) != busy {
		pace.Raise(w.changed)
	}
}

// Sleep returns when there may be work. Sleep returns true after a wake-up, and false at the end of a nap. One
// sleeping poller of the process watches the time: its nap also ends when the next event is due. The others wait for a
// wake-up, or until they become the watching poller. The parameter news is true if the caller's last pass followed a
// wake-up, or claimed events. Then an event may become due before the watching poller's timer, so that poller computes
// the timer again.
func (w *Waker) Sleep(ctx context.Context, news bool, untilNextDue func(context.Context) time.Duration) (woken bool) {
	if news {
		pace.Raise(w.recheck)
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.signal:
		return true
	case <-w.watch:
	}
	defer func() { w.watch <- struct{}{} }()
	nap := w.nap()
	until := time.Now().Add(nap)
	for {
		select {
		case <-w.recheck:
		default:
		}
		pause := time.Until(until)
		if nap > NapFirst {
			pause = min(pause, untilNextDue(ctx))
		}
		timer := time.NewTimer(pause)
		select {
		case <-w.recheck:
			timer.Stop()
			continue
		case <-ctx.Done():
		case <-w.signal:
			woken = true
		case <-timer.C:
		}
		timer.Stop()
		return woken
	}
}

// nap returns the length of the next sleep. The length doubles from sleep to sleep, with jitter, so that processes
// do not poll at the same time. A sleep is long only if a notification would end it: the relay is marked asleep in
// the database, and LISTEN works.
func (w *Waker) nap() time.Duration {
	if w.busy.Load() {
		if w.window.quiet(time.Now()) < calmAfter {
			return busyNap
		}
		w.setBusy(false)
	}
	longest := w.naps.unheard
	if w.hears.Load() && w.marked.Load() {
		longest = w.naps.longest
	}
	limit := pace.Ceiling(w.naps.shortest, longest, int(min(w.idle.Add(1), 64)))
	return limit - rand.N(limit/5+1)
}
