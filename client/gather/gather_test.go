package gather_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/client/gather"
)

// batches are those that began, each with how long after the start; each ends when
// it is told to.
type batches struct {
	mu    sync.Mutex
	begun time.Time
	sizes []int
	after []time.Duration
	items []int
	end   chan struct{}
}

func newBatches() *batches { return &batches{begun: time.Now(), end: make(chan struct{})} }

func (b *batches) run(batch []int) {
	b.mu.Lock()
	b.sizes, b.after, b.items = append(b.sizes, len(batch)), append(b.after, time.Since(b.begun)), append(b.items, batch...)
	b.mu.Unlock()
	<-b.end
}

func (b *batches) want(t *testing.T, sizes ...int) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.sizes, sizes) {
		t.Errorf("batches of %v, want %v", b.sizes, sizes)
	}
	if !slices.IsSorted(b.items) {
		t.Errorf("the items came as %v", b.items)
	}
}

func TestWhatComesMeanwhileIsTheNextBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 5, AtOnce: 1}, b.run)
		for n := range 13 {
			g.Add(n)
		}
		b.want(t, 1)
		b.end <- struct{}{}
		b.want(t, 1, 5)
		b.end <- struct{}{}
		b.want(t, 1, 5, 5)
		b.end <- struct{}{}
		b.want(t, 1, 5, 5, 2)
		b.end <- struct{}{}
		synctest.Wait()
		g.Add(13)
		b.want(t, 1, 5, 5, 2, 1)
		close(b.end)
	})
}

func TestHowLongABatchWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 3, AtOnce: 10, Wait: time.Second, Places: 8}, b.run)
		g.Add(0)
		b.want(t)
		time.Sleep(600 * time.Millisecond)
		g.Add(1)
		b.want(t)
		time.Sleep(400 * time.Millisecond)
		b.want(t, 2) // the first has waited for its second
		g.Add(2)
		g.Add(3)
		b.want(t, 2)
		g.Add(4)
		b.want(t, 2, 3) // full
		g.Add(5)
		g.Add(6)
		b.want(t, 2, 3)
		g.Add(7)
		b.want(t, 2, 3, 3) // full, and all places are taken
		for range 3 {
			b.end <- struct{}{}
		}
		synctest.Wait()
		g.Add(8)
		b.want(t, 2, 3, 3)
		g.Hurry()
		b.want(t, 2, 3, 3, 1)
		g.Add(9)
		b.want(t, 2, 3, 3, 1, 1)
		close(b.end)
	})
}

func TestAllPlacesAreTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 100, AtOnce: 1, Wait: time.Hour, Places: 4}, b.run)
		for n := range 4 {
			g.Add(n)
		}
		b.want(t, 4)
		close(b.end)
	})
}

func TestAContextOfMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		early, endEarly := context.WithTimeout(t.Context(), time.Second)
		defer endEarly()
		late, endLate := context.WithTimeout(t.Context(), time.Hour)
		defer endLate()
		both, cancel := gather.Context(late, early)
		defer cancel()
		if deadline, ok := both.Deadline(); !ok || time.Until(deadline) != time.Second {
			t.Errorf("the deadline is %v", deadline)
		}
		other, cancelOther := gather.Context(late, t.Context())
		defer cancelOther()
		endLate()
		synctest.Wait()
		if other.Err() == nil || both.Err() == nil {
			t.Error("it outlives one of its contexts")
		}
		third, cancelThird := gather.Context(early)
		cancelThird()
		if third.Err() == nil || early.Err() != nil {
			t.Error("its end is its own")
		}
	})
}
