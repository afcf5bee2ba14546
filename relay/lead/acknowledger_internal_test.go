package lead

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
)

// stream has one acknowledgement after another, one in each second. A position says how many were read.
type stream struct{ list []domain.Acknowledgement }

func (s *stream) Await(ctx context.Context, after string) ([]domain.Acknowledgement, string, error) {
	time.Sleep(time.Second)
	if ctx.Err() != nil {
		return nil, after, ctx.Err()
	}
	n, err := strconv.Atoi(after)
	if err != nil || n == len(s.list) {
		return nil, after, err
	}
	return s.list[n : n+1], strconv.Itoa(n + 1), nil
}

func (s *stream) Close() error { return nil }

// ledger confirms events, other than the locked ones, and keeps the position as the database does.
type ledger struct {
	t         *testing.T
	mu        sync.Mutex
	position  string
	locked    map[domain.ID]bool
	confirmed []domain.ID
}

func (l *ledger) Position(context.Context) (string, error) { return l.position, nil }

func (l *ledger) Acknowledge(_ context.Context, list []domain.Acknowledgement, after, next string) (n int64, locked []domain.Acknowledgement, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after != l.position {
		l.t.Errorf("it read from %q on, the stored position is %q", after, l.position)
	}
	for _, one := range list {
		switch {
		case l.locked[one.EventID]:
			locked = append(locked, one)
		case !slices.Contains(l.confirmed, one.EventID):
			l.confirmed = append(l.confirmed, one.EventID)
			n++
		}
	}
	if len(locked) == 0 {
		l.position = next
	}
	return n, locked, nil
}

// Acknowledgements of locked events hold up no other, and are confirmed when the events are no longer locked. The stored
// position does not pass them, so another leader would read them again.
func TestALockedAcknowledgementIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events, first, late = 40, 5, 30 // more late ones than are tried at once
		queue, l := &stream{}, &ledger{t: t, position: "0", locked: map[domain.ID]bool{}}
		for n := range byte(events) {
			queue.list = append(queue.list, domain.Acknowledgement{EventID: domain.ID{n + 1}})
			l.locked[domain.ID{n + 1}] = n >= first && n < first+late
		}
		fails, _, _ := notes(t, false)
		a := &acknowledger{
			o:   Acknowledging{Open: func() (domain.Acknowledgements, error) { return queue, nil }, Events: l},
			log: slog.New(slog.DiscardHandler), failing: fails, paused: func() bool { return false },
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			a.run(ctx, func(context.Context) error { return nil })
			close(ended)
		}()
		want := func(wait time.Duration, confirmed int, position string) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.confirmed) != confirmed || l.position != position {
				t.Errorf("%d events are confirmed, the stored position is %q, want %d and %q", len(l.confirmed), l.position, confirmed, position)
			}
		}
		free := func(ids ...domain.ID) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, id := range ids {
				delete(l.locked, id)
			}
		}
		want((events+5)*time.Second+time.Millisecond, events-late, strconv.Itoa(first))
		free(domain.ID{first + 1})
		want(3*time.Second, events-late+1, strconv.Itoa(first))
		free(slices.Collect(maps.Keys(l.locked))...)
		want(5*time.Second, events, strconv.Itoa(events))
		cancel()
		<-ended
	})
}
