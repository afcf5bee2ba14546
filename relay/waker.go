package relay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"outboxd/domain"
)

const (
	// showEvery is the rhythm of the signs of life, and showAgain that of the
	// attempts while there is none to be given.
	showEvery = 15 * time.Second
	showAgain = time.Second
	// napFirst is the least time until an event that is due and held by others
	// is looked for again.
	napFirst = 10 * time.Millisecond
	// A process that claims more than busyRate events a second looks by itself
	// every busyNap and asks nobody to notify: under load a NOTIFY in each
	// commit costs producers more than these looks cost the database.
	busyRate = 1000
	busyNap  = 2 * time.Millisecond
	// calmAfter is how long the rate has to stay low before producers are
	// asked to notify again.
	calmAfter = 500 * time.Millisecond
)

// waker tells the pollers of a process when there may be work, and producers
// whether to notify it.
type waker struct {
	presence domain.Presence
	process  domain.RelayProcess
	naps     napBounds
	log      *slog.Logger
	paused   func() bool // nothing can be relayed, so a wake-up is of no use

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

func newWaker(o Options, log *slog.Logger, paused func() bool) *waker {
	w := &waker{
		presence: o.Presence, process: o.Process, log: log, paused: paused,
		naps:   napBounds{o.PollMin, o.PollInterval, min(o.PollWithoutListen, o.PollInterval)},
		signal: make(chan struct{}, 1), watch: make(chan struct{}, 1),
		recheck: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	w.watch <- struct{}{}
	return w
}

// raise sets a flag that is a channel of one place.
func raise(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// wake wakes one sleeping poller, or the next one that is about to sleep. Each
// poller that finds a full batch wakes another: no stampede for a single event.
func (w *waker) wake() { raise(w.signal) }

// reconsider says that paused may have changed.
func (w *waker) reconsider() { raise(w.changed) }

// claimed tells the waker how many events a pass had.
func (w *waker) claimed(events int) {
	if events > 0 {
		w.idle.Store(0)
	}
	if w.window.add(events, time.Now()) > busyRate {
		w.setBusy(true)
	}
}

func (w *waker) setBusy(busy bool) {
	if w.busy.Swap(busy) != busy {
		raise(w.changed)
	}
}

// sleep returns when there may be work: after a wake-up, and then it returns
// true, or, for one poller of the process, when the next event gets due, or after
// a nap. news says that the pass before was after a wake-up, or put events back:
// another poller's timer, which was set before, may then be too late.
func (w *waker) sleep(ctx context.Context, news bool, untilNextDue func(context.Context) time.Duration) (woken bool) {
	if news {
		raise(w.recheck)
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
		if nap > napFirst {
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
func (w *waker) nap() time.Duration {
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
	limit := ceiling(w.naps.shortest, longest, int(min(w.idle.Add(1), 64)))
	return limit - rand.N(limit/5+1)
}

// show shows the process to others, and whether it wants to be notified, until
// ctx ends.
func (w *waker) show(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			w.leave(ctx)
			return nil
		case <-w.changed:
		case <-timer.C:
		}
		asleep := w.hears.Load() && !w.busy.Load() && !w.paused()
		if err := w.presence.Show(ctx, w.process, asleep); err != nil {
			if ctx.Err() == nil {
				w.log.Debug("could not show a sign of life", "error", err)
			}
			w.marked.Store(false) // nobody knows what others see
			timer.Reset(showAgain)
			continue
		}
		if !w.marked.Swap(asleep) && asleep {
			w.lookOnceMore()
		}
		timer.Reset(showEvery)
	}
}

// lookOnceMore follows the mark: what was committed before the mark was visible
// notified nobody.
func (w *waker) lookOnceMore() {
	w.idle.Store(0)
	w.wake()
}

func (w *waker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	w.marked.Store(false)
	if err := w.presence.Leave(ctx, w.process); err != nil {
		w.log.Debug("could not take the relay's record away; others will", "error", err)
	}
}

// listen waits for producers' notifications until ctx ends. It reconnects for
// as long as it takes: without it the relay polls more often, and nothing else.
func (w *waker) listen(ctx context.Context) error {
	defer w.hear(false)
	for failures := 0; ; {
		err := w.presence.Listen(ctx, func() {
			if failures > 0 {
				w.log.Info("listening for new events again")
			}
			failures = 0
			w.hear(true)
			w.wake()
		})
		if ctx.Err() != nil {
			return nil
		}
		w.hear(false)
		failures++
		pause := time.Second/4 + backoff(time.Second/2, 15*time.Second, failures)
		if failures == 1 {
			w.log.Warn("cannot listen for new events; polling until that works again", "retry_in", pause, "error", err)
		}
		wait(ctx, pause)
	}
}

// hear says whether notifications arrive. When they no longer do, one may have
// been missed, and a poller may just have begun a long sleep.
func (w *waker) hear(hears bool) {
	if w.hears.Swap(hears) == hears {
		return
	}
	raise(w.changed)
	if !hears {
		w.lookOnceMore()
	}
}
