package result

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Contender is one arm (variant) of a benchmark while it is measured.
type Contender struct {
	Name string
	// Run prepares, measures and checks one round.
	Run    func(ctx context.Context) (Measurement, error)
	rates  []float64
	curves [][]Point
	// figures are sums over the rounds.
	figures map[string]float64
}

// Measurement is the result of one round.
type Measurement struct {
	Rate    float64 // events per second
	Curve   []Point
	Figures map[string]float64
}

// Compare runs every arm once in each round, each after a reset, and adds their medians
// to the report. Each round begins with another arm, so that no arm is always the first
// or always the last.
func (r *Report) Compare(ctx context.Context, reset func(context.Context) error, rounds int, arms ...*Contender) error {
	for round := range rounds {
		for i := range arms {
			arm := arms[(round+i)%len(arms)]
			if err := reset(ctx); err != nil {
				return err
			}
			result, err := arm.Run(ctx)
			if err != nil {
				return fmt.Errorf("measure %q in round %d: %w", arm.Name, round+1, err)
			}
			arm.add(result)
		}
	}
	for _, arm := range arms {
		r.Arms = append(r.Arms, arm.arm())
	}
	return nil
}

// Ratio adds a ratio to the report: the rate of one arm divided by the rate of
// another.
func (r *Report) Ratio(name string, of, by *Contender) {
	r.Ratios[name] = ratio(of.Rate(), by.Rate())
}

// PerSecond returns the number of events per second, or 0 if they took no time.
func PerSecond(events int, took time.Duration) float64 { return ratio(float64(events), took.Seconds()) }

func (c *Contender) add(s Measurement) {
	c.rates = append(c.rates, s.Rate)
	if len(s.Curve) > 0 {
		c.curves = append(c.curves, s.Curve)
	}
	for name, value := range s.Figures {
		if c.figures == nil {
			c.figures = map[string]float64{}
		}
		c.figures[name] += value
	}
}

// Rate returns the median of the rounds in events per second; 0 before the first round.
func (c *Contender) Rate() float64 { return Median(c.rates) }

// arm returns the medians of the rounds. Figures are not medians: they are sums over
// the rounds.
func (c *Contender) arm() Arm {
	a := Arm{Name: c.Name, EventsPerSecond: c.Rate(), Rounds: c.rates, Figures: c.figures}
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

// ratio returns a divided by b, or 0 if b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Recorder records how many events had been delivered at which time. It is safe
// for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	begun time.Time
	total int64
	marks []mark
}

type mark struct {
	delivered int64
	after     time.Duration
}

// NewRecorder begins to record the delivery of total events.
func NewRecorder(total int) *Recorder { return &Recorder{begun: time.Now(), total: int64(total)} }

// Reached is called with the total number of events delivered so far, and records
// it.
func (r *Recorder) Reached(delivered int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mark(delivered)
}

// More is called when n further events were delivered, and records that.
func (r *Recorder) More(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := int64(0)
	if len(r.marks) > 0 {
		last = r.marks[len(r.marks)-1].delivered
	}
	r.mark(last + int64(n))
}

func (r *Recorder) mark(delivered int64) {
	r.marks = append(r.marks, mark{delivered, time.Since(r.begun)})
}

// Elapsed returns the time since the beginning.
func (r *Recorder) Elapsed() time.Duration { return time.Since(r.begun) }

// Finished returns the time until the last event was delivered.
func (r *Recorder) Finished() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.when(float64(r.total))
}

// when returns the time at which n events had been delivered. Between two recorded
// numbers, it interpolates.
func (r *Recorder) when(n float64) time.Duration {
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

// Curve divides the events into 40 equal parts, and returns one point for each
// part: its middle and its rate.
func (r *Recorder) Curve() []Point {
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
