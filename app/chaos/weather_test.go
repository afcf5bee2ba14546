package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// happening is a fault that came, and what it hit.
type happening struct {
	Fault
	Hit string
}

// weather begins each fault of a plan at its time, ends it when its time is over, and
// records what it hit.
type weather struct {
	injector *injector
	plan     *Plan
	begun    time.Time
	next     Fault
	lasting  []*lasting // in the order in which they end
	happened []happening
	say      func(format string, args ...any)
}

// lasting is a fault that has not ended yet.
type lasting struct {
	happening *happening
	end       func() string
	at        time.Duration
}

// shortest is the shortest time that a fault lasts if it has an end. A shorter fault of
// the network might meet no request.
const shortest = 200 * time.Millisecond

// long is how long the ending of a fault may take before it is logged: no other fault
// begins meanwhile.
const long = 5 * time.Second

func newWeather(i *injector, plan *Plan, say func(string, ...any)) *weather {
	w := &weather{injector: i, plan: plan, begun: time.Now(), say: say}
	w.next = plan.Next()
	return w
}

// until begins and ends faults until the given time, or until ctx ends.
func (w *weather) until(ctx context.Context, deadline time.Time) error {
	for {
		limit := deadline.Sub(w.begun)
		due, begins := w.due()
		if due > limit {
			return wait(ctx, deadline)
		}
		if err := wait(ctx, w.begun.Add(due)); err != nil {
			return err
		}
		if !begins {
			w.end(w.lasting[0])
			continue
		}
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
}

// due is when something happens next: a fault begins or ends.
func (w *weather) due() (at time.Duration, begins bool) {
	if len(w.lasting) > 0 && w.lasting[0].at < w.next.At {
		return w.lasting[0].at, false
	}
	return w.next.At, true
}

func (w *weather) begin(ctx context.Context) error {
	f := w.next
	w.next = w.plan.Next()
	hit, end, err := w.injector.inject(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Kind, err)
	}
	h := &happening{f, hit}
	if end == nil {
		w.happened = append(w.happened, *h)
		if hit != "" {
			w.say("%s: %s", f, hit)
		}
		return nil
	}
	if hit != "" {
		w.say("%s: %s, for %v", f, hit, f.Lasts)
	}
	w.lasting = append(w.lasting, &lasting{h, end, f.At + max(f.Lasts, shortest)})
	slices.SortStableFunc(w.lasting, func(a, b *lasting) int { return int(a.at - b.at) })
	return nil
}

func (w *weather) end(l *lasting) {
	w.lasting = slices.DeleteFunc(w.lasting, func(other *lasting) bool { return other == l })
	announced := l.happening.Hit
	begun := time.Now()
	l.happening.Hit = l.end()
	if took := time.Since(begun); took > long {
		w.say("%s: it took %v to end it", l.happening.Fault, took.Round(time.Millisecond))
	}
	w.happened = append(w.happened, *l.happening)
	if announced == "" && l.happening.Hit != "" {
		w.say("%s: %s", l.happening.Fault, l.happening.Hit)
	}
}

// clear ends everything that lasts.
func (w *weather) clear() {
	for len(w.lasting) > 0 {
		w.end(w.lasting[0])
	}
}

func wait(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
