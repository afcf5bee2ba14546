package gather_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/client/gather"
)

// How many batches run at the same time, by the round trip.
func TestMoreBatchesRunForADatabaseThatIsFarAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		near, most int
		trip       time.Duration
		want       int
	}{
		{2, 256, 0, 2},
		{2, 256, 50 * time.Microsecond, 2},   // a socket
		{2, 256, 100 * time.Microsecond, 2},  // a busy machine
		{2, 256, 500 * time.Microsecond, 4},  // the same region
		{2, 256, 1200 * time.Microsecond, 8}, // another zone
		{8, 256, 50 * time.Microsecond, 9},
		{2, 256, time.Second, 32}, // leaves other processes their connections
		{2, 5, time.Second, 5},
		{2, 1, time.Second, 2}, // as without a round trip
		{64, 256, time.Second, 64},
	} {
		synctest.Test(t, func(t *testing.T) {
			far := &gather.Distance{}
			for range 8 {
				if err := far.Measure(func() error { time.Sleep(c.trip); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			b := newBatches()
			g := gather.New(gather.Options{Max: 1, AtOnce: c.near, Most: c.most, Distance: far}, b.run)
			for range 2 * 64 {
				g.Add(t.Context(), 0)
			}
			synctest.Wait()
			if got := b.begun(); got != c.want {
				t.Errorf("%+v: %d batches", c, got)
			}
			close(b.end)
		})
	}
}

// The shortest round trip counts. Fewer and fewer batches measure it, and a failure is no
// round trip.
func TestTheShortestRoundTripCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, failed := &gather.Distance{}, errors.New("the connection is gone")
		if err := d.Measure(func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("returned %v", err)
		}
		asked := 0
		for range 63 {
			_ = d.Measure(func() error {
				if asked++; asked == 3 {
					time.Sleep(800 * time.Microsecond)
				} else {
					time.Sleep(2 * time.Millisecond)
				}
				return nil
			})
		}
		if asked != 8+3 { // eight, and those of the 16th, 32nd and 64th batch
			t.Errorf("measured %d times", asked)
		}
		b := newBatches()
		g := gather.New(gather.Options{Max: 1, AtOnce: 2, Most: 100, Distance: d}, b.run)
		for range 64 {
			g.Add(t.Context(), 0)
		}
		synctest.Wait()
		if got := b.begun(); got != 6 {
			t.Errorf("%d batches, want 6 for 0.8 ms", got)
		}
		close(b.end)
	})
}
