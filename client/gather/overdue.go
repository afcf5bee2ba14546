package gather

import (
	"context"
	"time"
)

// patience is how long a batch may still run after its context has ended. In this time it ends
// its transaction.
const patience = 10 * time.Second

// Overdue calls the function act if ctx, the context of a batch, has ended and the batch still
// runs ten seconds later, for example because its handler ignores ctx. Let act leave the
// Gatherer's count of batches. Otherwise such batches would take all places for good, and every
// other item would wait in vain. Call ended when the batch has ended.
func Overdue(ctx context.Context, act func()) (ended func()) {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-late.C:
			act()
		case <-over:
		}
	})
	return func() {
		stop()
		close(over)
	}
}
