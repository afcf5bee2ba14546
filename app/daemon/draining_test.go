package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary records what the actors of a lineup did, with the time since the test
// began.
type diary struct {
	begun time.Time

	mu      sync.Mutex
	entries []string
}

func newDiary() *diary { return &diary{begun: time.Now()} }

func (d *diary) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf("%v %s", time.Since(d.begun), what))
}

// read returns the entries by time, those of one moment by name.
func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := slices.Clone(d.entries)
	slices.Sort(entries)
	return entries
}

// draining is an actor that takes a while to finish once it is told to.
func (d *diary) draining(name string, takes time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		d.note(name + " is told")
		<-time.After(takes)
		d.note(name + " is done")
		return nil
	}
}

func testLineup(t *testing.T, patience time.Duration) *lineup {
	return newLineup(context.Background(), patience, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestLineupDrainsStageByStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDiary(), testLineup(t, time.Minute)
		// The order of adding is not the order of draining.
		l.add(stageMonitor, "monitor", d.draining("monitor", time.Second))
		l.add(stageWorker, "worker", d.draining("worker", 4*time.Second))
		l.add(stageRelay, "poller 1", d.draining("poller 1", 2*time.Second))
		l.add(stageRelay, "poller 2", d.draining("poller 2", 3*time.Second))
		l.add(stageAPI, "api", d.draining("api", time.Second))
		ctx, stop := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- l.run(ctx) }()

		synctest.Wait()
		if entries := d.read(); len(entries) > 0 || l.isDraining() {
			t.Fatalf("draining began by itself: %q", entries)
		}
		stop()
		synctest.Wait()
		if !l.isDraining() {
			t.Error("it does not say that it is draining")
		}
		if err := <-result; err != nil {
			t.Errorf("draining failed: %v", err)
		}
		want := []string{
			"0s api is told",
			"1s api is done", "1s poller 1 is told", "1s poller 2 is told",
			"3s poller 1 is done",
			"4s poller 2 is done", "4s worker is told",
			"8s monitor is told", "8s worker is done",
			"9s monitor is done",
		}
		if got := d.read(); !slices.Equal(got, want) {
			t.Errorf("it went\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	})
}

func TestLineupDrainsAllWhenOneFails(t *testing.T) {
	t.Parallel()
	for _, failing := range []stage{stageAPI, stageRelay, stageWorker, stageMonitor} {
		synctest.Test(t, func(t *testing.T) {
			d, l := newDiary(), testLineup(t, time.Minute)
			broken := errors.New("broken")
			for at, name := range []string{"api", "relay", "worker", "monitor"} {
				if stage(at) == failing {
					l.add(failing, name, func(context.Context) error { <-time.After(time.Hour); return broken })
				} else {
					l.add(stage(at), name, d.draining(name, time.Second))
				}
			}
			if err := l.run(t.Context()); !errors.Is(err, broken) {
				t.Errorf("stage %d: got %v, want the actor's error", failing, err)
			}
			if got := d.read(); len(got) != 6 || time.Since(d.begun) != time.Hour+3*time.Second {
				t.Errorf("stage %d: it ended after %v: %q", failing, time.Since(d.begun), got)
			}
		})
	}
}

func TestLineupKeepsTheFirstErrorAndLogsTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLineup(context.Background(), time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		first, second := errors.New("the first"), errors.New("the second")
		l.add(stageAPI, "api", func(ctx context.Context) error { <-ctx.Done(); return second })
		l.add(stageWorker, "worker", func(context.Context) error { return first })
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if err := l.run(ctx); !errors.Is(err, first) {
			t.Errorf("got %v, want the first error", err)
		}
		if text := log.String(); !strings.Contains(text, "the second") || strings.Contains(text, "the first") {
			t.Errorf("the log should have the second error only: %s", text)
		}
	})
}

// An actor that fails while the process drains makes the process fail, although the process was told to end.
func TestLineupFailsIfAnActorCannotDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLineup(context.Background(), time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		stuck, closed := errors.New("the worker has not stopped"), errors.New("the monitor was closed")
		l.add(stageWorker, "worker", func(ctx context.Context) error { <-ctx.Done(); return stuck })
		l.add(stageMonitor, "monitor", func(ctx context.Context) error { <-ctx.Done(); return closed })
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if err := l.run(ctx); !errors.Is(err, stuck) {
			t.Errorf("got %v, want the first error", err)
		}
		if text := log.String(); !strings.Contains(text, "the monitor was closed") || strings.Contains(text, "has not stopped") {
			t.Errorf("the log should have the second error only: %s", text)
		}
	})
}

func TestLineupTakesASilentEndForAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDiary(), testLineup(t, time.Minute)
		l.add(stageAPI, "api", d.draining("api", 0))
		l.add(stageRelay, "housekeeper", func(context.Context) error { return nil })
		if err := l.run(t.Context()); err == nil || !strings.Contains(err.Error(), "housekeeper stopped") {
			t.Errorf("got %v, want an error that names the housekeeper", err)
		}
		if len(d.read()) != 2 {
			t.Errorf("the api was not drained: %q", d.read())
		}
	})
}

func TestLineupNamesWhoIsStillRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDiary(), testLineup(t, 10*time.Second)
		release := make(chan struct{})
		l.add(stageAPI, "api", d.draining("api", time.Second))
		for range 2 {
			l.add(stageWorker, "worker", func(context.Context) error { <-release; return nil })
		}
		l.add(stageMonitor, "monitor", d.draining("monitor", 0))
		ctx, stop := context.WithCancel(t.Context())
		stop()
		err := l.run(ctx)
		if err == nil || !strings.Contains(err.Error(), "still running: worker, monitor;") || !strings.Contains(err.Error(), "10s") {
			t.Errorf("got %v, want an error that names worker and monitor, once each", err)
		}
		if passed := time.Since(d.begun); passed != 10*time.Second {
			t.Errorf("gave up after %v, want 10s", passed)
		}
		close(release)
	})
}

func TestLineupIsPatientFromTheBeginOfDraining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDiary(), testLineup(t, 10*time.Second)
		l.add(stageWorker, "worker", d.draining("worker", 9*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := l.run(ctx); err != nil {
			t.Errorf("the end of the context was taken for a failure: %v", err)
		}
	})
}
