package wakeup

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
)

// fakePresence is a database with which a Waker can listen. Listen works until the channel
// broken gets a value, and fails while the field refuses is true.
type fakePresence struct {
	broken   chan error
	asleep   chan bool // gets the mark whenever Show changes it
	shown    []bool    // the mark; empty: none yet
	refuses  atomic.Bool
	attempts atomic.Int64
	hides    atomic.Bool         // Show fails
	notify   func(domain.Notice) // notifies the latest listener
}

func (p *fakePresence) Show(_ context.Context, _ domain.RelayProcess, asleep bool) error {
	if p.hides.Load() {
		return errors.New("away")
	}
	if len(p.shown) == 0 || p.shown[0] != asleep {
		p.shown = []bool{asleep}
		p.asleep <- asleep
	}
	return nil
}

func (p *fakePresence) Leave(context.Context, domain.RelayProcess) error { return nil }

func (p *fakePresence) Listen(ctx context.Context, notified func(domain.Notice)) error {
	p.attempts.Add(1)
	if p.refuses.Load() {
		return errors.New("away")
	}
	p.notify = notified
	notified(domain.NoticeEvents)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-p.broken:
		return err
	}
}

const (
	testShortest = 10 * time.Millisecond
	testLongest  = 5 * time.Second
	testUnheard  = 500 * time.Millisecond
)

func testWaker() (*Waker, *fakePresence) {
	presence := &fakePresence{broken: make(chan error), asleep: make(chan bool, 100)}
	return New(Options{
		Presence: presence, PollInterval: testLongest, PollMin: testShortest, PollWithoutListen: testUnheard,
		Logger: slog.New(slog.DiscardHandler), Paused: func() bool { return false },
	}), presence
}

func never(context.Context) time.Duration { return time.Hour }

func TestNapsAreShortAfterWorkAndGrowToTheirBound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hears, marked bool
		longest       time.Duration
	}{
		"heard":                       {true, true, testLongest},
		"without LISTEN":              {false, true, testUnheard},
		"nobody was asked to notify":  {true, false, testUnheard},
		"at the beginning":            {false, false, testUnheard},
		"a shorter poll interval":     {false, false, 100 * time.Millisecond},
		"a shorter one, and is heard": {true, true, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := testWaker()
			if c.longest < testUnheard {
				w = New(Options{PollInterval: c.longest, PollMin: testShortest, PollWithoutListen: testUnheard})
			}
			w.hears.Store(c.hears)
			w.marked.Store(c.marked)
			for range 2 {
				limit := testShortest
				for n := 1; n <= 100; n++ {
					if nap := w.nap(); nap < limit/2 || nap > limit {
						t.Fatalf("sleep %d takes %v, want %v to %v", n, nap, limit/2, limit)
					}
					limit = min(2*limit, c.longest)
				}
				w.Claimed(1) // the sleeps begin again with the shortest
			}
		})
	}
}

// While LISTEN works the relay is shown as asleep. When LISTEN breaks, the relay is shown as
// awake, and a poller in the middle of a long sleep continues at once.
func TestProducersAreAskedToNotifyOnlyWhileTheyAreHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, presence := testWaker()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		presence.refuses.Store(true)
		go func() { _ = w.Show(ctx) }()
		go func() { _ = w.Listen(ctx) }()
		synctest.Wait()
		if asleep := <-presence.asleep; asleep {
			t.Error("asks for notifications before it can hear them")
		}
		for range 2 {
			presence.refuses.Store(false)
			if asleep := <-presence.asleep; !asleep {
				t.Error("does not ask for notifications though it hears them")
			}
			synctest.Wait()
			if !w.Sleep(ctx, false, never) {
				t.Error("does not look once more after it was marked asleep")
			}
			for range 20 { // until the sleeps are long
				w.Sleep(ctx, false, never)
			}
			slept := make(chan time.Duration)
			go func() {
				begun := time.Now()
				w.Sleep(ctx, false, never)
				slept <- time.Since(begun)
			}()
			synctest.Wait()
			presence.refuses.Store(true)
			presence.broken <- errors.New("terminated")
			if d := <-slept; d != 0 {
				t.Errorf("slept on for %v after LISTEN broke", d)
			}
			if asleep := <-presence.asleep; asleep {
				t.Error("asks for notifications that it cannot hear")
			}
			begun := time.Now()
			for range 10 {
				w.Sleep(ctx, false, never)
			}
			if took := time.Since(begun); took > 10*testUnheard {
				t.Errorf("ten sleeps without LISTEN took %v", took)
			}
		}
	})
}

// If the mark cannot be stored, producers may or may not notify, so the relay does not rely
// on notifications.
func TestNoLongSleepWhileTheMarkIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, presence := testWaker()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.hears.Store(true)
		go func() { _ = w.Show(ctx) }()
		<-presence.asleep
		synctest.Wait()
		if !w.marked.Load() {
			t.Fatal("not marked asleep")
		}
		presence.hides.Store(true)
		w.Reconsider()
		synctest.Wait()
		if w.marked.Load() {
			t.Error("counts on a mark that it could not renew")
		}
		presence.hides.Store(false)
		time.Sleep(2 * showAgain)
		synctest.Wait()
		if !w.marked.Load() {
			t.Error("not marked asleep again")
		}
	})
}

func TestListeningIsTriedAgainAndNeverHammered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, presence := testWaker()
		presence.refuses.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := w.Listen(ctx); err != nil {
			t.Error(err)
		}
		// At the slowest every 15.25 s, at the fastest every quarter of a second.
		if n := presence.attempts.Load(); n < 600/16 || n > 200 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if w.hears.Load() {
			t.Error("thinks that it hears")
		}
	})
}

// Of transactions that commit at the same time only one notifies. The events of another may
// become visible after the look that follows. So a notification makes the sleeps short,
// whether or not that look finds something.
func TestANotificationMakesTheSleepsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, presence := testWaker()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = w.Listen(ctx) })
		running.Go(func() { _ = w.Show(ctx) })
		<-presence.asleep
		sleeps := func() (lengths []time.Duration, woken bool) {
			for range 20 {
				begun := time.Now()
				if woken = w.Sleep(ctx, false, never); woken {
					return lengths, true
				}
				lengths = append(lengths, time.Since(begun))
			}
			return lengths, false
		}
		for range 3 { // until the wake-ups by the start of Listen and Show are used up
			_, _ = sleeps()
		}
		if long, woken := sleeps(); woken || long[0] < testLongest/2 {
			t.Fatalf("before: %v, woken %v", long, woken)
		}
		presence.notify(domain.NoticeEvents)
		if _, woken := sleeps(); !woken {
			t.Fatal("the notification woke nobody")
		}
		if short, _ := sleeps(); short[0] > 2*testShortest || short[1] > 4*testShortest {
			t.Errorf("the sleeps after a notification begin with %v", short[:2])
		}
		cancel()
		running.Wait()
	})
}
