package gather

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// Place decides once whether the batch takes an item, or the item leaves before the
// batch begins. The zero value is ready to use. It is safe for concurrent use.
type Place struct{ decided atomic.Bool }

// Take claims the item, either for the batch or for the one who waits in Await. Only the
// first call returns true.
func (p *Place) Take() bool { return p.decided.CompareAndSwap(false, true) }

// Await waits for the answer to an item from its batch. If the batch has not begun
// when half of the time until ctx's deadline is over, or when ctx ends, Await returns
// false and the batch leaves the item out. The caller uses the other half of the time
// to process the item alone.
//
// Once the batch has begun, Await waits for its answer even after ctx has ended,
// because the batch may commit at any moment, and then the caller must not report that
// nothing was tried. Let the batch run with the context that Context returns: it ends
// with ctx, so this wait is short.
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

// share returns a part of the time until ctx's deadline: the time divided by n.
func share(ctx context.Context, n time.Duration) time.Duration {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return math.MaxInt64
	}
	return time.Until(deadline) / n
}
