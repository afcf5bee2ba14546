package deliver_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/app/servertest"
	"outboxd/jobs/deliver"
)

// Once a receiver counts as down, failures cost no attempt, except an answer 500. From
// time to time one delivery tests the receiver. When a test succeeds, all deliveries go
// on.
func TestAReceiverThatIsDownIsLeftAlone(t *testing.T) {
	t.Parallel()
	var answers atomic.Int32
	answers.Store(503)
	server := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(answers.Load())) })
	r := deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{
		Target: deliver.Target{Name: "crm", URL: server.URL}, DownAfter: 3, ProbeEvery: 50 * time.Millisecond,
	})
	send := func() (deliver.Attempt, bool) { return r.Deliver(t.Context(), sample()) }
	for i := range 3 {
		a, charged := send()
		if a.Status != 503 || charged != (i < 2) {
			t.Fatalf("failure %d: %+v, charged %v", i+1, a, charged)
		}
	}
	if r.Pause() <= 0 || !r.Condition().Down || r.Condition().LastFailure == "" {
		t.Fatalf("after three failures: %s, %+v", r.Pause(), r.Condition())
	}
	if a, charged := send(); charged || a.Status != 0 || len(server.got()) != 3 {
		t.Fatalf("while it is left alone: %+v, charged %v", a, charged)
	}
	servertest.Eventually(t, "the pause is over", func() bool { return r.Pause() == 0 })
	r.Took()
	if r.Pause() == 0 {
		t.Error("a second delivery may go before the first has shown that the receiver works")
	}
	if a, charged := send(); charged || a.Status != 503 || r.Pause() == 0 {
		t.Errorf("a probe that fails: %+v, charged %v", a, charged)
	}
	answers.Store(500)
	servertest.Eventually(t, "the pause is over", func() bool { return r.Pause() == 0 })
	if a, charged := send(); !charged || a.Status != 500 {
		t.Errorf("a probe that fails by itself: %+v, charged %v", a, charged)
	}
	answers.Store(200)
	servertest.Eventually(t, "the pause is over", func() bool { return r.Pause() == 0 })
	if a, _ := send(); a.Outcome != deliver.Accepted || r.Condition().Down || r.Pause() != 0 {
		t.Errorf("a probe that succeeds: %+v, %+v", a, r.Condition())
	}
}

// A receiver that was only restarted is tried after half a second, and one that stays away
// every ten seconds at last.
func TestTheWaitsOfAReceiverThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := deliver.NewReceiver(deliver.NewSender(deliver.SenderOptions{Guard: here()}), deliver.ReceiverOptions{
			Target: deliver.Target{URL: "http://127.0.0.1:1"}, DownAfter: 1,
		})
		var waits []time.Duration
		for range 8 {
			r.Deliver(t.Context(), sample())
			wait := r.Pause()
			if a, charged := r.Deliver(t.Context(), sample()); charged || a.Took != 0 {
				t.Errorf("it is not left alone: %+v", a)
			}
			time.Sleep(wait - time.Millisecond)
			if a, _ := r.Deliver(t.Context(), sample()); a.Took != 0 || r.Pause() != time.Millisecond {
				t.Errorf("it is not left alone until %v are over: %+v", wait, a)
			}
			time.Sleep(time.Millisecond + time.Nanosecond)
			waits = append(waits, wait.Round(100*time.Millisecond))
		}
		s := time.Second
		if want := []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s, 10 * s}; !slices.Equal(waits, want) {
			t.Errorf("the waits are %v, want %v", waits, want)
		}
	})
}

// A receiver that refuses events does not count as down.
func TestRefusalsDoNotStopAReceiver(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, status(400, "no"))
	r := deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{Target: deliver.Target{URL: server.URL}, DownAfter: 2})
	for range 5 {
		if a, charged := r.Deliver(t.Context(), sample()); a.Outcome != deliver.Refused || !charged || r.Pause() != 0 {
			t.Fatalf("%+v, %s", a, r.Pause())
		}
	}
}

func TestAReceiverThatAsksForARestGetsIt(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, status(429, "", "Retry-After", "3600"))
	r := deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{Target: deliver.Target{URL: server.URL}})
	if _, charged := r.Deliver(t.Context(), sample()); !charged {
		t.Error("the first failure counts")
	}
	if rest := r.Pause(); rest < 9*time.Minute || rest > 10*time.Minute {
		t.Errorf("it rests for %s, want the bound of 10 min", rest)
	}
}

// The end of this process says nothing about the receiver.
func TestACancelledAttemptIsNone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	r := deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{Target: deliver.Target{URL: server.URL}, DownAfter: 1})
	if a, charged := r.Deliver(ctx, sample()); charged || a.Outcome != deliver.Repeat || r.Condition().Down {
		t.Errorf("%+v, %v, %+v", a, charged, r.Condition())
	}
}

func TestTheLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := deliver.NewReceiver(deliver.NewSender(deliver.SenderOptions{Guard: here()}), deliver.ReceiverOptions{Rate: 200})
		begun, n := time.Now(), 0
		for ; time.Since(begun) < 10*time.Second; n++ {
			for pause := r.Pause(); pause > 0; pause = r.Pause() {
				time.Sleep(pause)
			}
			r.Took()
		}
		if n < 1990 || n > 2030 {
			t.Errorf("%d deliveries in 10 s, want 200 a second", n)
		}
	})
}

func TestReceiversAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	server := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader([]int{200, 503, 500}[n.Add(1)%3])
	})
	r := deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{
		Target: deliver.Target{URL: server.URL}, Rate: 1e6, DownAfter: 2, ProbeEvery: time.Millisecond,
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if r.Pause() == 0 {
					r.Took()
				}
				r.Deliver(t.Context(), sample())
				r.Condition()
			}
		})
	}
	wg.Wait()
}
