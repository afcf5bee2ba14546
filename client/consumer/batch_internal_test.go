package consumer

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/client"
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

// agreeable is a database, its transaction and the inbox in it: every event takes effect.
type agreeable struct{ inbox }

func (a agreeable) Begin(context.Context) (Transaction[int], error)   { return a, nil }
func (agreeable) Tx() int                                             { return 0 }
func (agreeable) QueryRow(context.Context, string, ...any) Row        { return nil }
func (agreeable) Commit(context.Context) error                        { return nil }
func (agreeable) Rollback(context.Context) error                      { return nil }
func (agreeable) committedAll(_ context.Context, all []Event) []error { return make([]error, len(all)) }

func (agreeable) confirmAll(_ context.Context, _ func(context.Context, string, ...any) Row, all []Event, _ int) ([]confirmation, []follower, error) {
	answers := make([]confirmation, len(all))
	for i := range answers {
		answers[i] = takesEffect
	}
	return answers, nil, nil
}

// Batches whose handlers do not end take no place for good: the log names them once, and other events still form
// batches.
func TestAHandlerWithoutAnEndTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		handle := func(_ context.Context, _ int, payloads []string) error {
			if payloads[0] == "hangs" {
				<-release
			}
			return nil
		}
		var log bytes.Buffer
		b := newBatching(&Consumer[int]{db: agreeable{}, inbox: agreeable{}}, handle, Batch{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		run := func(payload string) answer {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return b.gathered(ctx, Event{ID: client.NewID(), Type: "test:a", Queue: "default"}, payload)
		}
		for range 100 { // more than there are places, one after another
			go run("hangs")
			synctest.Wait()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if is := run("ends"); is.alone || is.err != nil {
			t.Errorf("no batch had a place for it: %+v", is)
		}
		if n := strings.Count(log.String(), "ignores its context"); n != 1 {
			t.Errorf("%d warnings: %s", n, log.String())
		}
	})
}
