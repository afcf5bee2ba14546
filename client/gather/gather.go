// Package gather makes batches of items that come one by one. The number of batches
// that run at the same time is limited. While no further batch may begin, the items
// that come wait, and then form the next batch. A database gathers commits in the
// same way while it writes its log. So batches are small while there is little load,
// and grow with the load.
package gather

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Options are the tuning of a Gatherer.
type Options struct {
	Max    int // items of a batch; at least 1
	AtOnce int // batches under way at the same time; at least 1
	// Distance, if not nil, lets more batches than AtOnce be under way if the database is
	// far away, but no more than Most, and no more than 32.
	Distance *Distance
	Most     int
	// Wait is how long an item waits for other items although a batch could begin.
	// This wait is at most a third of the time until the item's deadline. 0: not at
	// all.
	Wait time.Duration
	// Places is the largest possible number of items at the same time, waiting or
	// in a running batch. If there are as many items as places, no item waits for
	// others, because no more can come. 0: not known.
	Places int
}

// Gatherer runs batches. It is safe for concurrent use.
type Gatherer[T any] struct {
	o   Options
	run func(batch []T, leave func())

	mu      sync.Mutex
	waiting []T
	due     []time.Time // until when each waiting item waits for others
	running int         // batches under way
	inside  int         // items that wait or are under way
	hurried bool
	alarm   *time.Timer
}

// New returns a Gatherer that calls the function run for each batch, in a new goroutine. The
// items of a batch are in the order in which they came. Once run has returned or has called
// leave, the batch does not count as under way any more. See Overdue.
func New[T any](o Options, run func(batch []T, leave func())) *Gatherer[T] {
	o.Max, o.AtOnce = max(o.Max, 1), max(o.AtOnce, 1)
	return &Gatherer[T]{o: o, run: run}
}

// Add is called with one item: the item joins a batch that begins now or later. Add
// does not wait. The item waits for other items for at most a third of the time
// until ctx's deadline.
func (g *Gatherer[T]) Add(ctx context.Context, item T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting, g.due = append(g.waiting, item), append(g.due, time.Now().Add(min(g.o.Wait, share(ctx, 3))))
	g.inside++
	g.begin()
}

// Hurry says that no more items come. From now on no item waits for others.
func (g *Gatherer[T]) Hurry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hurried = true
	g.begin()
}

// atOnce returns how many batches may be under way now.
func (g *Gatherer[T]) atOnce() int {
	if g.o.Distance == nil {
		return g.o.AtOnce
	}
	return atOnce(g.o.AtOnce, g.o.Most, g.o.Distance.roundTrip())
}

// begin starts the batches that may begin now.
func (g *Gatherer[T]) begin() {
	for atOnce := g.atOnce(); g.running < atOnce && len(g.waiting) > 0; {
		if left := g.patience(); left > 0 {
			g.lookIn(left)
			return
		}
		n := g.size(atOnce)
		batch := append([]T(nil), g.waiting[:n]...)
		rest := copy(g.waiting, g.waiting[n:])
		clear(g.waiting[rest:])
		g.waiting = g.waiting[:rest]
		g.due = g.due[:copy(g.due, g.due[n:])]
		g.running++
		go g.carryOut(batch)
	}
}

// size returns how many of the waiting items the next batch takes. That is at most an equal
// share of all items, so that atOnce batches run side by side. Otherwise one batch would take
// all items that wait, the other batches would only have the few that come next, and for most
// of the time one batch would run alone. With Options.Wait, the waiting items stay together.
func (g *Gatherer[T]) size(atOnce int) int {
	n := min(len(g.waiting), g.o.Max)
	if g.o.Wait > 0 {
		return n
	}
	return min(n, (g.inside+atOnce-1)/atOnce)
}

// patience returns how long the waiting items may still wait for others; 0 or less:
// a batch has to begin.
func (g *Gatherer[T]) patience() time.Duration {
	if g.hurried || len(g.waiting) >= g.o.Max || g.o.Places > 0 && g.inside >= g.o.Places {
		return 0
	}
	return time.Until(slices.MinFunc(g.due, time.Time.Compare))
}

func (g *Gatherer[T]) lookIn(left time.Duration) {
	if g.alarm != nil {
		g.alarm.Stop()
	}
	g.alarm = time.AfterFunc(left, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.begin()
	})
}

func (g *Gatherer[T]) carryOut(batch []T) {
	leave := sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running--
		g.inside -= len(batch)
		g.begin()
	})
	defer leave()
	g.run(batch, leave)
}
