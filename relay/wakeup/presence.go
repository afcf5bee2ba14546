package wakeup

import (
	"context"
	"time"
)

const (
	// showEvery is the time between signs of life. showAgain is the time
	// between attempts while they fail.
	showEvery = 15 * time.Second
	showAgain = time.Second
)

// Show records signs of life, and whether producers must notify, until ctx
// ends.
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
		if err := w.presence.Show(ctx, w.process, asleep); err != nil {
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

// lookOnceMore wakes a poller after the mark, and after each notification. Events
// that were committed before the mark was visible notified nobody. Of the events
// that are committed at the same time only one notifies, and the others may become
// visible a little later. So the sleeps begin with the shortest one again.
func (w *Waker) lookOnceMore() {
	w.idle.Store(0)
	w.Wake()
}

func (w *Waker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	w.marked.Store(false)
	if err := w.presence.Leave(ctx, w.process); err != nil {
		w.log.Debug("could not take the relay's record away; others will", "error", err)
	}
}
