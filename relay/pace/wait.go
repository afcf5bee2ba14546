package pace

import (
	"context"
	"time"
)

// Wait returns after d, or when ctx ends.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// WaitOr returns after d, when ctx ends, or when the flag is set. In the last case it clears the flag.
func WaitOr(ctx context.Context, d time.Duration, flag <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-flag:
	case <-timer.C:
	}
}

// Raise sets a flag, a channel with a buffer of one. It never blocks.
func Raise(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}
