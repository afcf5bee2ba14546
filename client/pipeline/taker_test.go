package pipeline

import (
	"testing"
	"testing/synctest"
	"time"
)

// However rare the looks are, a task is handed out while its lease has time left:
// Asynq reckons it from its question, and waits for the answer.
func TestAWaitIsShorterThanALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asks := &taker{ctx: t.Context(), every: time.Minute}
		for range 100 {
			began := time.Now()
			if asks.await(); time.Since(began) > leaseTime/2 {
				t.Fatalf("it waited %v, with a lease of %v", time.Since(began), leaseTime)
			}
		}
	})
}
