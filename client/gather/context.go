package gather

import (
	"context"
	"time"
)

// Context returns a context that ends as soon as any of the given contexts ends.
// The returned context has the earliest of their deadlines. Call cancel when the
// batch has ended.
func Context(each ...context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancelAll := context.WithCancel(context.Background())
	stops := make([]func(), 0, len(each)+2)
	stops = append(stops, cancelAll)
	var until time.Time
	for _, one := range each {
		stop := context.AfterFunc(one, cancelAll)
		stops = append(stops, func() { stop() })
		if deadline, bounded := one.Deadline(); bounded && (until.IsZero() || deadline.Before(until)) {
			until = deadline
		}
	}
	if !until.IsZero() {
		var cancelTimer context.CancelFunc
		ctx, cancelTimer = context.WithDeadline(ctx, until)
		stops = append(stops, cancelTimer)
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
	}
}
