package wakeup

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
)

// slowPresence stores a sign of life after some time, unless the caller gives up before.
type slowPresence struct {
	fakePresence
	takes, left time.Duration // left is when the record was deleted, since the beginning
	began       time.Time
	shows       error
}

func (p *slowPresence) Show(ctx context.Context, _ domain.RelayProcess, _ bool) error {
	select {
	case <-ctx.Done():
		p.shows = ctx.Err()
	case <-time.After(p.takes):
	}
	return p.shows
}

func (p *slowPresence) Leave(context.Context, domain.RelayProcess) error {
	p.left = time.Since(p.began)
	return nil
}

// A relay that stops deletes its record after the sign of life that is on its way, for which it waits a
// second and no longer.
func TestTheLatestSignOfLifeIsStoredBeforeTheRecordIsDeleted(t *testing.T) {
	t.Parallel()
	const stopped = 100 * time.Millisecond
	for name, c := range map[string]struct {
		takes, left time.Duration
		stored      bool
	}{
		"an answer comes":            {500 * time.Millisecond, 500 * time.Millisecond, true},
		"an answer does not come":    {time.Hour, stopped + time.Second, false},
		"it was answered long since": {time.Millisecond, stopped, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				presence := &slowPresence{takes: c.takes, began: time.Now()}
				w := New(Options{Presence: presence, Logger: slog.New(slog.DiscardHandler), Paused: func() bool { return false }})
				ctx, cancel := context.WithTimeout(t.Context(), stopped)
				defer cancel()
				if err := w.Show(ctx); err != nil {
					t.Fatal(err)
				}
				if presence.left != c.left || (presence.shows == nil) != c.stored {
					t.Errorf("the record was deleted after %v, want %v; the sign of life: %v", presence.left, c.left, presence.shows)
				}
			})
		})
	}
}
