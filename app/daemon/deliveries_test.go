package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/setup"
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

// lengthOf is the length of every queue; below 0: it is not known.
type lengthOf int64

func (n lengthOf) Lengths(_ context.Context, queues []string) (map[string]int64, error) {
	if n < 0 {
		return nil, errFlaky
	}
	return map[string]int64{queues[0]: int64(n)}, nil
}

// TestAReceiverWithoutDeliveriesDoesNotStayDown has a receiver whose deliveries were cancelled while it was down. While
// one waits, however long, it counts as down.
func TestAReceiverWithoutDeliveriesDoesNotStayDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sender := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(netip.MustParsePrefix("127.0.0.0/8"))})
		defer sender.Close()
		receiver := deliver.NewReceiver(sender, deliver.ReceiverOptions{Target: deliver.Target{URL: "http://127.0.0.1:1"}, DownAfter: 1})
		r := &delivering{is: setup.Subscription{Name: "crm"}, receiver: receiver}
		f, sent := &deliveries{}, deliver.Delivery{EventID: domain.ID{1}, Type: "a", Queue: "default", Payload: []byte("{}")}
		observe := func(length int64, wait time.Duration, want bool) {
			t.Helper()
			time.Sleep(wait)
			f.lengths = lengthOf(length)
			f.relieve(t.Context(), r)
			if got := receiver.Condition().Down; got != want {
				t.Errorf("%d deliveries wait: down is %t, want %t", length, got, want)
			}
		}
		receiver.Deliver(t.Context(), sent)
		observe(0, quietAfter-time.Second, true)
		observe(1, time.Hour, true)
		observe(-1, time.Second, true)
		observe(0, time.Second, false)
		receiver.Deliver(t.Context(), sent)
		observe(0, time.Second, true)
	})
}
