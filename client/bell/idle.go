package bell

import (
	"context"
	"math/rand/v2"
	"time"
)

// Idle makes a server with empty queues wait until the bell rings, or until it
// is time for the next look. So an idle worker asks Redis little, and still
// begins a task at once.
//
// It is for the one goroutine that looks into all queues, one after another.
type Idle struct {
	Bell   Bell
	Every  time.Duration // between two looks without a ring, on average
	Queues int           // number of queues that are looked into; at least 1

	empty int // looks in a row that found no task
}

// Await waits before a look if the last looks found no task in any queue. It
// reports whether the bell rang.
func (i *Idle) Await(ctx context.Context) (rang bool) {
	if i.empty < i.Queues {
		return false
	}
	i.empty = 0
	// At random, so that several workers look at different times.
	look := time.NewTimer(i.Every/2 + rand.N(i.Every))
	defer look.Stop()
	select {
	case <-i.Bell:
		return true
	case <-look.C:
	case <-ctx.Done():
	}
	return false
}

// Note records whether a look found a task.
func (i *Idle) Note(found bool) {
	if found {
		i.empty = 0
	} else {
		i.empty++
	}
}
