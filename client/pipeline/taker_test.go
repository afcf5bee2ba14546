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

// A gate that was closed says nothing of the queues: the next question goes to Redis
// at once.
func TestAClosedGateIsNoEmptyQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asks := &taker{ctx: t.Context(), every: time.Minute, gate: closed{}, queues: []*queue{{name: "default"}}}
		if err := asks.look("default"); err != nil || asks.empty {
			t.Errorf("error %v; it takes the queue for empty: %t", err, asks.empty)
		}
		asks.bell, asks.empty = make(chan struct{}, 1), true
		asks.bell.Ring()
		if err := asks.look("default"); err != nil || asks.empty {
			t.Errorf("error %v; it has forgotten that the bell rang: %t", err, asks.empty)
		}
	})
}

type closed struct{}

func (closed) Pause() time.Duration { return time.Second }
func (closed) Took()                {}

// A receipt ends with its own question, however many are lost after it.
func TestAReceiptEndsBeforeItsTasksAreAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lost
		for _, receipt := range []string{"a", "b", "c"} {
			l.lose(receipt, time.Now())
			time.Sleep(25 * time.Second)
		}
		if got := l.unanswered(); got != "b c" {
			t.Errorf("the receipts are %q", got)
		}
	})
}
