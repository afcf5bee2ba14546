package daemon

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/jobs/deliver"
)

// TestDeliveriesReturnWhatAWorkerCouldNotFinish has two workers, of which one does not stop in time.
func TestDeliveriesReturnWhatAWorkerCouldNotFinish(t *testing.T) {
	t.Parallel()
	f := &deliveries{running: map[string]*delivering{}}
	for name, err := range map[string]error{"crm": nil, "billing": errFlaky} {
		r := &delivering{done: make(chan struct{}), err: err}
		r.cancel = func() { close(r.done) }
		f.running[name] = r
	}
	if err := f.stopAll(); !errors.Is(err, errFlaky) || len(f.running) != 0 {
		t.Errorf("got %v, and %d workers run", err, len(f.running))
	}
}

// TestTheSeriesOfASubscriptionThatEndedAreRemoved ends the worker of a subscription that is no longer there.
func TestTheSeriesOfASubscriptionThatEndedAreRemoved(t *testing.T) {
	t.Parallel()
	forgotten := false
	ended := &delivering{done: make(chan struct{}), forget: func() { forgotten = true }}
	close(ended.done)
	f := &deliveries{running: map[string]*delivering{"crm": ended}, log: slog.New(slog.DiscardHandler), metrics: deliver.NewMetrics(prometheus.NewRegistry())}
	f.adjust(t.Context(), nil)
	if !forgotten || len(f.running) != 0 {
		t.Errorf("the series are removed: %t; %d workers run", forgotten, len(f.running))
	}
}
