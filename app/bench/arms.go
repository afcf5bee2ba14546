package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// contender is one arm while it is measured.
type contender struct {
	name string
	// run prepares, measures and checks one round. It begins with a Reset.
	run    func(ctx context.Context) (measurement, error)
	rates  []float64
	curves [][]Point
	// figures add up over the rounds.
	figures map[string]float64
}

// measurement is the result of one round.
type measurement struct {
	rate    float64 // events per second
	curve   []Point
	figures map[string]float64
}

// interleave runs every arm once in each round. A round begins with another arm
// than the one before, so that none always follows the same.
func (e *Env) interleave(ctx context.Context, rounds int, arms ...*contender) error {
	for round := range rounds {
		for i := range arms {
			arm := arms[(round+i)%len(arms)]
			if err := e.Reset(ctx); err != nil {
				return err
			}
			result, err := arm.run(ctx)
			if err != nil {
				return fmt.Errorf("measure %q in round %d: %w", arm.name, round+1, err)
			}
			arm.add(result)
		}
	}
	return nil
}

func (c *contender) add(s measurement) {
	c.rates = append(c.rates, s.rate)
	if len(s.curve) > 0 {
		c.curves = append(c.curves, s.curve)
	}
	for name, value := range s.figures {
		if c.figures == nil {
			c.figures = map[string]float64{}
		}
		c.figures[name] += value
	}
}

func (c *contender) rate() float64 { return Median(c.rates) }

// arm returns the medians.
func (c *contender) arm() Arm {
	a := Arm{Name: c.name, EventsPerSecond: c.rate(), Rounds: c.rates, Figures: c.figures}
	if len(c.curves) == 0 {
		return a
	}
	for i, point := range c.curves[0] {
		rates := make([]float64, 0, len(c.curves))
		for _, curve := range c.curves {
			rates = append(rates, curve[i].Y)
		}
		a.Curve = append(a.Curve, Point{X: point.X, Y: Median(rates)})
	}
	return a
}

// ratio returns a divided by b, 0 where nothing was measured.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// recorder notes when how many events had been delivered. It may be used by any
// number of goroutines.
type recorder struct {
	mu    sync.Mutex
	begun time.Time
	total int64
	marks []mark
}

type mark struct {
	delivered int64
	after     time.Duration
}

func newRecorder(total int) *recorder { return &recorder{begun: time.Now(), total: int64(total)} }

// reached tells that so many events have been delivered in all.
func (r *recorder) reached(delivered int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mark(delivered)
}

// more tells that n more events have been delivered.
func (r *recorder) more(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := int64(0)
	if len(r.marks) > 0 {
		last = r.marks[len(r.marks)-1].delivered
	}
	r.mark(last + int64(n))
}

func (r *recorder) mark(delivered int64) {
	r.marks = append(r.marks, mark{delivered, time.Since(r.begun)})
}

// elapsed is how long it has taken so far.
func (r *recorder) elapsed() time.Duration { return time.Since(r.begun) }

// finished is when the last event was seen to be delivered.
func (r *recorder) finished() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.when(float64(r.total))
}

// when returns how long n events took, between two marks in proportion.
func (r *recorder) when(n float64) time.Duration {
	before := mark{}
	for _, m := range r.marks {
		if float64(m.delivered) >= n && m.delivered > before.delivered {
			share := (n - float64(before.delivered)) / float64(m.delivered-before.delivered)
			return before.after + time.Duration(share*float64(m.after-before.after))
		}
		before = m
	}
	return before.after
}

// steps is how many points a curve has.
const steps = 40

// curve returns the rate in each of steps equal parts of the events, at the
// middle of the part.
func (r *recorder) curve() []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	points := make([]Point, 0, steps)
	width := float64(r.total) / steps
	for i := range steps {
		from, to := float64(i)*width, float64(i+1)*width
		seconds := (r.when(to) - r.when(from)).Seconds()
		points = append(points, Point{X: (from + to) / 2, Y: ratio(width, seconds)})
	}
	return points
}
