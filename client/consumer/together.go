package consumer

import (
	"context"

	"github.com/hibiken/asynq"
)

// HandleTogether returns the handler of a task type for Asynq's mux. As with Handle, the function
// handle gets one payload. But the events of a batch share a transaction. The function is called
// for one event after another, in the order of the payloads of HandleBatch. Then one commit
// confirms them all. So a handler that only changes rows is often several times faster, without a
// line of its own for batches.
//
// A batch consists of the same tasks as with HandleBatch. If the function fails for one of several
// events, the transaction is rolled back, and each task of the batch runs alone, as with
// HandleBatch. Then the function is called again for the events before the one that failed. What it
// did outside tx for them happens again.
//
// The events share the batch's time and its locks. So HandleTogether is for handlers that take
// milliseconds and call no other server. They must not depend on the start or the end of the
// transaction, as now() and pg_advisory_xact_lock do. If two batches lock the same rows in
// different orders, PostgreSQL may end one of them because of a deadlock. Then its tasks run alone.
//
// A batch makes a round trip to the database for each statement of each event. So if the database
// is far away, more batches than GOMAXPROCS run at the same time, up to 32, on up to half of the
// connections that the pool may have.
//
// In the function handle, EventOf returns the event of the payload.
func HandleTogether[T, Tx any](c *Consumer[Tx], handle func(ctx context.Context, tx Tx, payload T) error, batch Batch) asynq.Handler {
	refuseNil(handle == nil)
	b := newBatching(c, func(ctx context.Context, tx Tx, payloads []T) error {
		events := EventsOf(ctx)
		for i, payload := range payloads {
			if err := handle(withEvents(ctx, events[i]), tx, payload); err != nil {
				return err
			}
		}
		return nil
	}, batch)
	b.each = true
	return b
}
