package wakeup

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

// Listen waits for producers' notifications until ctx ends. If the connection fails, Listen connects again, without
// a limit on attempts. While no notifications can arrive, the relay polls more often.
func (w *Waker) Listen(ctx context.Context) error {
	defer w.hear(false)
	for failures := 0; ; {
		err := w.presence.Listen(ctx, func(about domain.Notice) {
			if failures > 0 {
				w.log.Info("listening for new events again")
			}
			failures = 0
			w.hear(true)
			if about == domain.NoticeSubscriptions {
				w.subscriptions()
				return
			}
			w.lookOnceMore()
		})
		if ctx.Err() != nil {
			return nil
		}
		w.hear(false)
		failures++
		pause := time.Second/4 + pace.Backoff(time.Second/2, 15*time.Second, failures)
		if failures == 1 {
			w.log.Warn("cannot listen for new events; polling until that works again", "retry_in", pause, "error", err)
		}
		pace.Wait(ctx, pause)
	}
}

// hear is called when notifications begin to arrive or stop arriving, and records that. When notifications stop
// arriving, a poller may be in a long sleep and may have missed a notification, so this method wakes one poller.
func (w *Waker) hear(hears bool) {
	if w.hears.Swap(hears) == hears {
		return
	}
	pace.Raise(w.changed)
	if !hears {
		w.lookOnceMore()
	}
}
