package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func testBreaker(probe func(context.Context) error) *breaker {
	return newBreaker("server", probe, prometheus.NewGauge(prometheus.GaugeOpts{Name: "open", Help: "Of a test."}), slog.New(slog.DiscardHandler), func() {})
}

func TestBreakerHoldsEverybodyAndOneProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var probes []time.Duration
		begun := time.Now()
		recovered := begun.Add(time.Minute)
		b := testBreaker(func(context.Context) error {
			probes = append(probes, time.Since(begun)) // a second prober would be a data race
			if time.Now().Before(recovered) {
				return errors.New("still away")
			}
			return nil
		})
		if err := b.wait(t.Context()); err != nil {
			t.Fatalf("a closed breaker: %v", err)
		}
		b.trip(errors.New("refused"))
		b.trip(errors.New("refused again"))
		var released sync.WaitGroup
		for range 8 {
			released.Go(func() {
				if err := b.wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		released.Wait()
		if late := time.Since(recovered); late < 0 || late > probeLast {
			t.Errorf("released %v after the recovery, want within %v", late, probeLast)
		}
		if len(probes) < 60 || len(probes) > 140 {
			t.Errorf("%d probes in a minute", len(probes))
		}
		if b.fault() != nil {
			t.Error("still open")
		}
	})
}

func TestBreakerLetsAnotherProbeWhenTheProberLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		b := testBreaker(func(context.Context) error {
			select {
			case <-up:
				return nil
			default:
				return errors.New("away")
			}
		})
		b.trip(errors.New("away"))
		ctx, leave := context.WithCancel(t.Context())
		gone, served := make(chan error, 1), make(chan error, 1)
		go func() { gone <- b.wait(ctx) }()
		synctest.Wait() // the first goroutine waits as the prober
		go func() { served <- b.wait(t.Context()) }()
		synctest.Wait()
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left: %v", err)
		}
		close(up)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A server that answers probes and fails at work is asked less and less
// often.
func TestBreakerSlowsDownOnFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := testBreaker(func(context.Context) error { return nil })
		begun, rounds := time.Now(), 0
		for ; time.Since(begun) < time.Minute; rounds++ {
			b.trip(errors.New("disk full"))
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if rounds > 140 {
			t.Errorf("%d rounds in a minute", rounds)
		}
		b.succeeded()
		again := time.Now()
		b.trip(errors.New("disk full"))
		if err := b.wait(t.Context()); err != nil || time.Since(again) > 2*probeFirst {
			t.Errorf("a new outage began with a pause of %v", time.Since(again))
		}
	})
}
