package gather

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// Place is an item's place in a batch: either the batch takes it when it begins, or
// the item leaves before. The zero value is ready to use. It is safe for concurrent
// use.
type Place struct{ decided atomic.Bool }

// Take returns false if the item has left: the batch must leave it out.
func (p *Place) Take() bool { return p.decided.CompareAndSwap(false, true) }

// Await waits for the answer of an item's batch. It returns false if the batch has
// not begun when half of the item's time is over, which ctx's deadline ends: the
// batch then leaves the item out, and the other half is for carrying it out alone.
//
// Once the batch has begun, Await waits for its answer even after ctx has ended. The
// effect may be committed at any moment then, so nobody may say that nothing was
// tried. A batch ends with the first of its members' contexts, so this is not long.
func Await[A any](ctx context.Context, p *Place, answers <-chan A) (answer A, answered bool) {
	half := time.NewTimer(share(ctx, 2))
	defer half.Stop()
	select {
	case answer = <-answers:
		return answer, true
	case <-half.C:
	case <-ctx.Done():
	}
	if p.Take() {
		return answer, false
	}
	return <-answers, true
}

// share returns the n-th part of the time that ctx has left.
func share(ctx context.Context, n time.Duration) time.Duration {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return math.MaxInt64
	}
	return time.Until(deadline) / n
}
