package lead

import (
	"context"
	"sync"

	"outboxd/relay/pace"
)

// vouchers are the callers of vouch that wait for the healer's next check.
type vouchers struct {
	mu      sync.Mutex
	waiting []chan bool
}

func (v *vouchers) take() []chan bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	waiting := v.waiting
	v.waiting = nil
	return waiting
}

// vouch tells the reconciler whether Redis still has its data: it waits for a check of the healer that begins
// after the call, and returns true if the check found no loss. If it returns true, missing tasks are single
// losses, and not a loss of all data.
func (h *healer) vouch(ctx context.Context) bool {
	answer := make(chan bool, 1)
	h.vouchers.mu.Lock()
	h.vouchers.waiting = append(h.vouchers.waiting, answer)
	h.vouchers.mu.Unlock()
	pace.Raise(h.look)
	select {
	case intact := <-answer:
		return intact
	case <-ctx.Done():
		return false
	}
}

// checkAndVouch calls check and answers the waiting callers of vouch.
func (h *healer) checkAndVouch(ctx context.Context) error {
	waiting := h.vouchers.take()
	h.intact = false
	err := h.check(ctx)
	for _, answer := range waiting {
		answer <- h.intact && err == nil
	}
	return err
}
