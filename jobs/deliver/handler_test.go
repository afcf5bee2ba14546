package deliver_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
	"outboxd/jobs/work"
)

// office records what a handler writes: the pauses of subscriptions, and the journal.
type office struct {
	paused, noted []string
	moved         bool  // the subscription has another URL by now
	err           error // of PauseReceiver
}

func (o *office) PauseReceiver(_ context.Context, action *domain.Action, of *setup.Subscription) (bool, error) {
	o.paused = append(o.paused, of.Name+" by "+action.Actor+": "+action.Reason)
	return !o.moved, o.err
}

func (o *office) Delivered(_ context.Context, _ domain.Effects, _ domain.ID, _ int, detail string) error {
	o.noted = append(o.noted, detail)
	return nil
}

// handle makes one attempt at a receiver with this URL. The subscription has three attempts,
// and waits an hour at most.
func handle(t *testing.T, o *office, url string, attempt, downAfter int) (work.Record, error) {
	t.Helper()
	return handler(t, o, url, downAfter)(t.Context(), work.Task{EventID: domain.ID{1}, Type: "user:created", Attempt: attempt})
}

func handler(t *testing.T, o *office, url string, downAfter int) work.Outward {
	t.Helper()
	s := setup.Subscription{Name: "crm", URL: url, Attempts: 3, RetryMax: time.Hour}
	return deliver.Handler(deliver.HandlerOptions{
		Subscription: s, Receiver: deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{Target: deliver.TargetOf(&s), DownAfter: downAfter}),
		Pauser: o, Journal: o, Metrics: deliver.NewMetrics(prometheus.NewRegistry()), Actor: "worker 7", Logger: slog.New(slog.DiscardHandler),
	})
}

// What the relay adds to the headers of a delivery's task becomes attributes of the event, and no headers.
func TestADeliveryNamesItsEvent(t *testing.T) {
	t.Parallel()
	to, event := newReceiver(t, nil), domain.ID{2}
	s := setup.Subscription{Name: "crm", URL: to.URL, Attempts: 3, RetryMax: time.Hour, Format: setup.FormatCloudEvents}
	send := deliver.Handler(deliver.HandlerOptions{
		Subscription: s, Receiver: deliver.NewReceiver(newSender(t), deliver.ReceiverOptions{Target: deliver.TargetOf(&s)}),
		Pauser: &office{}, Journal: &office{}, Metrics: deliver.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler),
	})
	_, err := send(t.Context(), work.Task{EventID: domain.ID{1}, Type: "user:created", Payload: []byte("{}"), Attempt: 1, Headers: map[string]string{
		domain.HeaderOrigin: event.String(), domain.HeaderQueue: "low", domain.HeaderKey: "customer-3", "tenant": "eu",
	}})
	if err != nil || len(to.got()) != 1 {
		t.Fatalf("%d requests, %v", len(to.got()), err)
	}
	got := to.got()[0].header
	for name, want := range map[string]string{"ce-id": event.String(), "ce-subject": "customer-3", "ce-tenant": "eu", deliver.HeaderQueue: "low"} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
	for name := range got {
		if strings.Contains(strings.ToLower(name), "ordering-key") {
			t.Errorf("the request has the header %s", name)
		}
	}
}

func TestADeliveryIsNotedWhereItIsConfirmed(t *testing.T) {
	t.Parallel()
	var o office
	record, err := handle(t, &o, newReceiver(t, status(202, "thank you")).URL, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.noted) > 0 {
		t.Error("it is noted before its confirmation")
	}
	if err := record(t.Context(), nil); err != nil || len(o.noted) != 1 || !strings.HasPrefix(o.noted[0], "status 202 after ") || !strings.HasSuffix(o.noted[0], ": thank you") {
		t.Errorf("noted %q, %v", o.noted, err)
	}
}

// A failed attempt is made again after a wait that doubles, or after the time for which the
// receiver asked, but never later than the subscription's maximum. The last one makes a dead
// letter.
func TestWhenAFailedDeliveryIsTriedAgain(t *testing.T) {
	t.Parallel()
	const dead = time.Duration(-1)
	for name, c := range map[string]struct {
		status      int
		retryAfter  string
		attempt     int
		least, most time.Duration // of the wait
	}{
		"first":                      {500, "", 1, time.Second, 2 * time.Second},
		"second":                     {500, "", 2, 2 * time.Second, 4 * time.Second},
		"last":                       {500, "", 3, dead, dead},
		"refused":                    {404, "", 1, dead, dead},
		"refused, and asks for time": {404, "60", 1, dead, dead},
		"timeout asks for time":      {408, "60", 1, time.Minute, time.Minute},
		"too early asks for time":    {425, "60", 1, time.Minute, time.Minute},
		"busy asks for time":         {429, "60", 1, time.Minute, time.Minute},
		"error asks for time":        {500, "60", 1, time.Minute, time.Minute},
		"away asks for time":         {503, "60", 1, time.Minute, time.Minute},
		"asks for too much":          {503, "7200", 1, time.Hour, time.Hour},
		"asks for no time":           {503, "0", 1, time.Second, 2 * time.Second},
		"asks for nonsense":          {503, "soon", 1, time.Second, 2 * time.Second},
		"last, and asks for time":    {503, "60", 3, dead, dead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o office
			_, err := handle(t, &o, newReceiver(t, status(c.status, "", "Retry-After", c.retryAfter)).URL, c.attempt, 0)
			failed, ok := errors.AsType[*domain.Error](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			if c.least == dead {
				if failed.Code != domain.CodeInvalid {
					t.Errorf("want a dead letter: %v", err)
				}
				return
			}
			if failed.Code != domain.CodeUnavailable || failed.RetryAfter < c.least || failed.RetryAfter > c.most {
				t.Errorf("again after %s, want %s to %s: %v", failed.RetryAfter, c.least, c.most, err)
			}
		})
	}
}

// After 410 the delivery keeps its attempts, even the last, if the subscription is paused,
// has another URL, or the database is away.
func TestGoneCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o     office
		delay time.Duration
		says  string
	}{
		"paused":               {office{}, time.Minute, "the subscription is paused"},
		"the URL was changed":  {office{moved: true}, 2 * time.Second, "another URL"},
		"the database is away": {office{err: domain.Errorf(domain.CodeUnavailable, "no connection")}, time.Minute, "no connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := handle(t, &c.o, newReceiver(t, status(http.StatusGone, "moved away")).URL, 3, 0)
			postponed, ok := errors.AsType[*work.Postponed](err)
			if !ok || postponed.Delay != c.delay || !postponed.Tried || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%#v", err)
			}
			if len(c.o.paused) != 1 || !strings.HasPrefix(c.o.paused[0], "crm by worker 7: ") || !strings.Contains(c.o.paused[0], "status 410") || !strings.Contains(c.o.paused[0], "moved away") {
				t.Errorf("paused %q", c.o.paused)
			}
		})
	}
}

// If another fault than an outage keeps the subscription from being paused, the attempt
// counts as any that failed. So the delivery is not repeated for ever.
func TestGoneThatCannotPauseCostsAnAttempt(t *testing.T) {
	t.Parallel()
	url := newReceiver(t, status(http.StatusGone, "moved away")).URL
	for attempt, code := range map[int]domain.Code{1: domain.CodeUnavailable, 3: domain.CodeInvalid} {
		o := office{err: errors.New("permission denied for table outbox_subscriptions")}
		_, err := handle(t, &o, url, attempt, 0)
		failed, ok := errors.AsType[*domain.Error](err)
		if !ok || failed.Code != code || !strings.Contains(err.Error(), "status 410") {
			t.Errorf("attempt %d: %#v, want an error of code %s", attempt, err, code)
		}
		if again := attempt < 3; ok && again != (failed.RetryAfter > 0) {
			t.Errorf("attempt %d: again after %s", attempt, failed.RetryAfter)
		}
	}
}

// While the receiver is down, a delivery is postponed on its last attempt, too. If it was not
// sent at all, there was no attempt.
func TestADeliveryToAReceiverThatIsDownIsPostponed(t *testing.T) {
	t.Parallel()
	var o office
	server := newReceiver(t, status(503, ""))
	deliverOne := handler(t, &o, server.URL, 1)
	for i, tried := range []bool{true, false} {
		_, err := deliverOne(t.Context(), work.Task{EventID: domain.ID{1}, Attempt: 3})
		postponed, ok := errors.AsType[*work.Postponed](err)
		if !ok || postponed.Tried != tried || postponed.Delay < time.Second {
			t.Errorf("delivery %d: %#v", i, err)
		}
	}
	if n := len(server.got()); n != 1 {
		t.Errorf("%d requests were sent, want 1", n)
	}
}
