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
	// NapFirst is the least time until an event that is due and held by others
	// is looked for again.
	NapFirst = 10 * time.Millisecond
	// A process that claims more than busyRate events a second looks by itself
	// every busyNap and asks nobody to notify: under load a NOTIFY in each
	// commit costs producers more than these looks cost the database.
	busyRate = 1000
	busyNap  = 2 * time.Millisecond
	// calmAfter is how long the rate has to stay low before producers are
	// asked to notify again.
	calmAfter = 500 * time.Millisecond
)

// Options are what a Waker needs. All are required.
type Options struct {
	Presence domain.Presence
	Process  domain.RelayProcess
	// The sleeps of an idle poller are as relay.Options says.
	PollInterval, PollMin, PollWithoutListen time.Duration
	// Paused reports that nothing can be relayed, so that a wake-up is of no use.
	Paused func() bool
	Logger *slog.Logger
}

// Waker tells the pollers of a process when there may be work, and producers
// whether to notify it.
type Waker struct {
	presence domain.Presence
	process  domain.RelayProcess
	naps     napBounds
	log      *slog.Logger
	paused   func() bool

	signal  chan struct{} // holds one wake-up; whoever takes it is awake
	watch   chan struct{} // holds one token; of the sleeping pollers, who has it looks at the clock
	recheck chan struct{} // the watch's timer may be too late
	changed chan struct{} // whether to be notified may have changed
	busy    atomic.Bool   // producers need not notify
	hears   atomic.Bool   // LISTEN works
	marked  atomic.Bool   // producers see that they have to notify
	idle    atomic.Int64  // sleeps since the last claim that found something

	window rate
}

// napBounds bound the sleeps of an idle poller, which double from the shortest
// one. The first ones are short because a producer that wrote its event before
// the relay was marked asleep, and committed after the last look, notifies
// nobody: they find such an event within about as long as its transaction took.
type napBounds struct {
	shortest time.Duration
	longest  time.Duration // while producers notify and the relay hears them
	unheard  time.Duration // the longest while not
}

// New returns a Waker. Run its Show and, where producers are to notify, its Listen.
func New(o Options) *Waker {
	w := &Waker{
		presence: o.Presence, process: o.Process, log: o.Logger, paused: o.Paused,
		naps:   napBounds{o.PollMin, o.PollInterval, min(o.PollWithoutListen, o.PollInterval)},
		signal: make(chan struct{}, 1), watch: make(chan struct{}, 1),
		recheck: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	w.watch <- struct{}{}
	return w
}

// Wake wakes one sleeping poller, or the next one that is about to sleep. Each
// poller that finds a full batch wakes another: no stampede for a single event.
func (w *Waker) Wake() { pace.Raise(w.signal) }

// Reconsider says that paused may have changed.
func (w *Waker) Reconsider() { pace.Raise(w.changed) }

// Claimed tells the waker how many events a pass had.
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

// Sleep returns when there may be work: after a wake-up, and then it returns
// true, or, for one poller of the process, when the next event gets due, or after
// a nap. news says that the pass before was after a wake-up, or put events back:
// another poller's timer, which was set before, may then be too late.
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

// nap doubles from sleep to sleep, with jitter so that processes do not poll in
// step. A long one is for when somebody would call: producers see the mark, and
// the relay hears them.
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
