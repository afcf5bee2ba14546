package consumer

import (
	"context"
	"testing"
	"testing/synctest"
)

// A service calls Run again and again with one handler. What the handler keeps for a server goes when the server stops.
func TestABatchHandlerForgetsServersThatStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatching(&Consumer[int]{}, func(context.Context, int, []string) error { return nil }, Batch{})
		kept := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.gatherers)
		}
		for range 3 {
			running, stop := context.WithCancel(t.Context())
			ctx := context.WithValue(t.Context(), serverKey{}, &server{places: 1, running: running})
			if first, second := b.gatherer(ctx, "default"), b.gatherer(ctx, "default"); first != second || kept() != 1 {
				t.Errorf("%d gatherers for one server", kept())
			}
			stop()
			synctest.Wait()
			if kept() != 0 {
				t.Errorf("%d gatherers are kept", kept())
			}
		}
	})
}
