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

// batches records the batches that began: their sizes and their items. Each batch ends when
// the test sends to the channel end.
type batches struct {
	mu    sync.Mutex
	sizes []int
	items []int
	end   chan struct{}
}

func newBatches() *batches { return &batches{end: make(chan struct{})} }

func (b *batches) run(batch []int, _ func()) {
	b.mu.Lock()
	b.sizes, b.items = append(b.sizes, len(batch)), append(b.items, batch...)
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

// begun returns how many batches began.
func (b *batches) begun() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sizes)
}

func TestWhatComesMeanwhileIsTheNextBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 5, AtOnce: 1}, b.run)
		for n := range 13 {
			g.Add(t.Context(), n)
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
		g.Add(t.Context(), 13)
		b.want(t, 1, 5, 5, 2, 1)
		close(b.end)
	})
}

// Of 22 items in two batches, one must not have 21: the other batch would be over at once, and
// then one batch would run alone.
func TestBatchesShareTheItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 100, AtOnce: 2}, b.run)
		g.Add(t.Context(), 0)
		b.want(t, 1)
		for n := range 21 {
			g.Add(t.Context(), 1+n)
		}
		b.want(t, 1, 1)
		b.end <- struct{}{}
		b.want(t, 1, 1, 11)
		close(b.end)
	})
}

func TestHowLongABatchWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 3, AtOnce: 10, Wait: time.Second, Places: 8}, b.run)
		g.Add(t.Context(), 0)
		b.want(t)
		time.Sleep(600 * time.Millisecond)
		g.Add(t.Context(), 1)
		b.want(t)
		time.Sleep(400 * time.Millisecond)
		b.want(t, 2) // the first has waited for its second
		g.Add(t.Context(), 2)
		g.Add(t.Context(), 3)
		b.want(t, 2)
		g.Add(t.Context(), 4)
		b.want(t, 2, 3) // full
		g.Add(t.Context(), 5)
		g.Add(t.Context(), 6)
		b.want(t, 2, 3)
		g.Add(t.Context(), 7)
		b.want(t, 2, 3, 3) // full, and all places are taken
		for range 3 {
			b.end <- struct{}{}
		}
		synctest.Wait()
		g.Add(t.Context(), 8)
		b.want(t, 2, 3, 3)
		g.Hurry()
		b.want(t, 2, 3, 3, 1)
		g.Add(t.Context(), 9)
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
			g.Add(t.Context(), n)
		}
		b.want(t, 4)
		close(b.end)
	})
}

// A batch goes on although its context has ended. It keeps no place of the batches that come, and its late end frees
// none a second time.
func TestABatchWithoutAnEndTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 2, AtOnce: 1}, func(batch []int, leave func()) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			defer gather.Overdue(ctx, leave)()
			b.run(batch, leave)
		})
		for n := range 4 {
			g.Add(t.Context(), n)
		}
		b.want(t, 1)
		time.Sleep(65 * time.Second)
		b.want(t, 1)
		time.Sleep(6 * time.Second)
		b.want(t, 1, 2)
		b.end <- struct{}{} // one of the two, after which one place at most is free
		b.end <- struct{}{}
		b.want(t, 1, 2, 1)
		g.Add(t.Context(), 4)
		b.want(t, 1, 2, 1)
		close(b.end)
	})
}

// An item whose own time is short does not use it up with waiting for others.
func TestAShortTimeIsNotSpentWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatches()
		g := gather.New(gather.Options{Max: 100, AtOnce: 1, Wait: time.Hour}, b.run)
		short, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		g.Add(t.Context(), 0)
		g.Add(short, 1)
		time.Sleep(9 * time.Second)
		b.want(t)
		time.Sleep(time.Second)
		b.want(t, 2)
		close(b.end)
	})
}

// An item that waits behind long batches leaves when half of its time is over, and no
// batch takes it after that. An item whose batch has begun waits for the answer.
func TestAPlaceThatSomeoneLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var left, taken gather.Place
		answers := make(chan int, 1)
		begun := time.Now()
		if _, answered := gather.Await(short, &left, answers); answered || time.Since(begun) != 5*time.Second {
			t.Errorf("answered: %t, after %v", answered, time.Since(begun))
		}
		if left.Take() {
			t.Error("a place was taken that someone had left")
		}
		if !taken.Take() {
			t.Fatal("a place was not taken")
		}
		time.AfterFunc(time.Minute, func() { answers <- 7 })
		if answer, answered := gather.Await(short, &taken, answers); !answered || answer != 7 {
			t.Errorf("answered: %t, %d", answered, answer)
		}
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
