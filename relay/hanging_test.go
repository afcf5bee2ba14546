package relay

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// silence is a publisher that is never asked.
type silence struct{ domain.Publisher }

// absence is a presence that is never asked.
type absence struct{ domain.Presence }

// deafStore answers a claim when the channel release is closed, even if the claim's
// context has ended before.
type deafStore struct {
	domain.EventStore
	release chan struct{}
}

func (s deafStore) Claim(context.Context, domain.Cursor, int, ...string) (domain.Batch, error) {
	<-s.release
	return nil, errors.New("released")
}

func TestAPassWithoutEndHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := deafStore{release: make(chan struct{})}
		r := New(Options{Store: store, Publisher: silence{}, Presence: absence{}, Concurrency: 2, BatchSize: 1, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		if err := r.Hangs(); err != nil {
			t.Errorf("before the first pass: %v", err)
		}
		go func() { _, _, _ = r.pollers[1].pass(t.Context()) }()
		time.Sleep(hangsAfter)
		synctest.Wait()
		if err := r.Hangs(); err != nil {
			t.Errorf("within its limit: %v", err)
		}
		time.Sleep(time.Second)
		if err := r.Hangs(); err == nil || err.Error() != "a poller has been in one pass for 1m46s" {
			t.Errorf("a pass that does not end: %v", err)
		}
		close(store.release)
		synctest.Wait()
		if err := r.Hangs(); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}
