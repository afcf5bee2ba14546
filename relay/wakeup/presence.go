package wakeup

import (
	"context"
	"time"
)

const (
	// showEvery is the time between two signs of life. showAgain is the time between two attempts while writing
	// them fails.
	showEvery = 15 * time.Second
	showAgain = time.Second
	// lastShow is how long a relay that stops waits for the answer to its latest sign of life.
	lastShow = time.Second
)

// Show stores in the database, until ctx ends, that the relay is alive, and whether producers must notify it.
func (w *Waker) Show(ctx context.Context) error {
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
		if err := w.show(ctx, asleep); err != nil {
			if ctx.Err() == nil {
				w.log.Debug("could not show a sign of life", "error", err)
			}
			w.marked.Store(false) // it is not known what producers see
			timer.Reset(showAgain)
			continue
		}
		if !w.marked.Swap(asleep) && asleep {
			w.lookOnceMore()
		}
		timer.Reset(showEvery)
	}
}

// show stores one sign of life. If ctx ends meanwhile, show waits a little longer for the answer: PostgreSQL
// might store an abandoned sign of life after leave has deleted the relay's record.
func (w *Waker) show(ctx context.Context, asleep bool) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastShow, cancel) })()
	return w.presence.Show(last, w.process, asleep)
}

// lookOnceMore wakes a poller. It is called after the relay was marked asleep in the database, after each
// notification, and when LISTEN stops working. Transactions that committed before the mark was visible have not
// notified. Of transactions that commit at the same time only one notifies, and the events of the others may become
// visible a little later. So the pollers begin again with the shortest sleep.
func (w *Waker) lookOnceMore() {
	w.idle.Store(0)
	w.Wake()
}

func (w *Waker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	w.marked.Store(false)
	if err := w.presence.Leave(ctx, w.process); err != nil {
		w.log.Debug("could not delete the relay's record; a leader will", "error", err)
	}
}
