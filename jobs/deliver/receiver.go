package deliver

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// ReceiverOptions tune a Receiver.
type ReceiverOptions struct {
	Target Target
	Rate   float64 // deliveries a second; 0: no limit
	// DownAfter is the number of failures in a row after which the receiver counts as down.
	// 0 means 5.
	DownAfter int
	// ProbeEvery is the longest time for which a receiver that is down gets no delivery, before one
	// delivery may try, unless the receiver asked for a longer rest. 0 means 10 s. The first such
	// pause is half a second, and each further pause is twice as long as the one before. Because
	// the first pauses are short, a receiver that was only restarted soon gets its deliveries.
	ProbeEvery time.Duration
}

// firstProbe is how long a receiver gets no delivery when it has just gone down.
const firstProbe = 500 * time.Millisecond

// maxRest is the longest time for which one answer of a receiver can stop all deliveries
// to it.
const maxRest = 10 * time.Minute

// Receiver is one receiver of deliveries. A Receiver has a rate limiter, and a circuit breaker that
// stops the deliveries while the receiver is down. A Receiver is safe for concurrent use.
type Receiver struct {
	o       ReceiverOptions
	sender  *Sender
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	limiter *rate.Limiter // nil: no limit

	mu       sync.Mutex
	rest     time.Time // the receiver asked for no delivery before this time
	probing  time.Time // until this time one delivery is testing whether the receiver works again
	reopens  time.Time // one delivery may try from then on
	probes   int       // pauses that began since the receiver went down
	downFrom time.Time // zero: not down
	last     Attempt   // the last attempt with the outcome Repeat
	tried    time.Time // when the attempt "last" ended
}

// NewReceiver returns a Receiver that sends through sender.
func NewReceiver(sender *Sender, o ReceiverOptions) *Receiver {
	if o.DownAfter <= 0 {
		o.DownAfter = 5
	}
	if o.ProbeEvery <= 0 {
		o.ProbeEvery = 10 * time.Second
	}
	if o.Target.Timeout <= 0 {
		o.Target.Timeout = defaultTimeout
	}
	r := &Receiver{o: o, sender: sender}
	r.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: o.Target.Name, MaxRequests: 1, Timeout: min(firstProbe, o.ProbeEvery),
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(o.DownAfter) }, //nolint:gosec // a small number
		OnStateChange: r.changed,
		// If a delivery fails because this process ends, that says nothing about the receiver.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	if o.Rate > 0 {
		r.limiter = rate.NewLimiter(rate.Limit(o.Rate), max(int(math.Ceil(o.Rate/10)), 1))
	}
	return r
}

func (r *Receiver) changed(_ string, _, to gobreaker.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	switch to {
	case gobreaker.StateOpen:
		r.reopens = now.Add(min(firstProbe<<min(r.probes, 20), r.o.ProbeEvery))
		r.probes++
		if r.downFrom.IsZero() {
			r.downFrom = now
		}
	case gobreaker.StateClosed:
		r.downFrom, r.probes = time.Time{}, 0
	case gobreaker.StateHalfOpen:
	}
	r.probing = time.Time{}
}

// Pause returns how long no delivery may begin, because the receiver is down, has asked
// for a pause, or has reached its rate. 0 means that a delivery may begin now.
func (r *Receiver) Pause() time.Duration {
	state := r.breaker.State()
	now := time.Now()
	r.mu.Lock()
	pause := max(r.rest.Sub(now), 0)
	switch state {
	case gobreaker.StateOpen:
		pause = max(pause, r.reopens.Sub(now), time.Millisecond)
	case gobreaker.StateHalfOpen:
		pause = max(pause, r.reopens.Sub(now), r.probing.Sub(now))
	case gobreaker.StateClosed:
	}
	r.mu.Unlock()
	if r.limiter != nil {
		if missing := 1 - r.limiter.Tokens(); missing > 0 {
			pause = max(pause, time.Duration(missing/r.o.Rate*float64(time.Second)))
		}
	}
	return pause
}

// Took must be called just before a delivery begins.
func (r *Receiver) Took() {
	if r.limiter != nil {
		r.limiter.Allow()
	}
	if r.breaker.State() == gobreaker.StateHalfOpen {
		r.mu.Lock()
		// After this time another delivery may try, even if this delivery is never sent.
		r.probing = time.Now().Add(r.o.Target.Timeout + bodyTimeout)
		r.mu.Unlock()
	}
}

// Deliver sends a delivery once. The result charged says whether the attempt counts. An attempt
// does not count if ctx was cancelled before there was an answer. Nor does it count if it says
// nothing about the delivery (Attempt.Down) and the receiver now counts as down. If the circuit
// breaker lets no delivery through, Deliver sends nothing.
func (r *Receiver) Deliver(ctx context.Context, d Delivery) (a Attempt, charged bool) {
	done, err := r.allow()
	if err != nil {
		return Attempt{Outcome: Repeat, Down: true, Err: err, RetryAfter: max(r.Pause(), time.Second)}, false
	}
	sent := false
	defer func() {
		if !sent { // it panicked; otherwise the breaker would wait for this attempt for ever
			done(errors.New("the attempt panicked"))
		}
	}()
	a = r.sender.Send(ctx, r.o.Target, d)
	sent = true
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) && a.Status == 0 {
		done(context.Canceled)
		return a, false
	}
	if a.Outcome != Repeat {
		done(nil)
		return a, true
	}
	r.mu.Lock()
	r.last, r.tried = a, time.Now()
	if a.Down && a.RetryAfter > 0 {
		r.rest = time.Now().Add(min(a.RetryAfter, maxRest))
	}
	r.mu.Unlock()
	done(errors.New(a.String()))
	return a, !a.Down || r.breaker.State() == gobreaker.StateClosed
}

// allow asks the circuit breaker whether a delivery may be sent. The breaker stays open equally
// long each time, but the pauses before further probes are longer. So this method, and not the
// breaker, refuses a delivery before such a pause has ended.
func (r *Receiver) allow() (done func(error), err error) {
	if r.breaker.State() != gobreaker.StateClosed {
		r.mu.Lock()
		early := time.Now().Before(r.reopens)
		r.mu.Unlock()
		if early {
			return nil, gobreaker.ErrOpenState
		}
	}
	return r.breaker.Allow()
}

// CountAsUp says that no delivery waits for the receiver. If the last attempt is older than quiet, the
// receiver no longer counts as down: it may have been mended, and without deliveries nothing would show
// that. When the next attempt fails, the receiver counts as down again.
func (r *Receiver) CountAsUp(quiet time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.tried) >= quiet {
		r.downFrom, r.probes = time.Time{}, 0
	}
}

// Condition is the state of a receiver.
type Condition struct {
	Down        bool
	Since       time.Time // with Down
	Rests       time.Time // it asked for no delivery before this time; zero or past: it did not
	LastFailure string    // of the last attempt that must be repeated
	Tried       time.Time // when that attempt ended
}

// Condition returns the present state of the receiver.
func (r *Receiver) Condition() Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Condition{Down: !r.downFrom.IsZero(), Since: r.downFrom, Rests: r.rest, Tried: r.tried}
	if r.last.Outcome != "" {
		c.LastFailure = r.last.String()
	}
	return c
}
