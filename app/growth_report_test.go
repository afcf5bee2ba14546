package app_test

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	bench "outboxd/app/bench/result"
)

// growthStep is what was measured while some of the databases were fed.
type growthStep struct {
	rate               float64 // with which each database is fed
	databases          int
	emitted, confirmed float64 // events per second, of all databases together
	cpu                cpuUse
	took               time.Duration
	confirmedInAll     int64
	busy, others       float64 // parts of the machine's processors
	linear, perEvent   float64 // confirmed and processor time per event, divided by those of the first step
	processorMs        float64 // for each event
	msOfProgram        map[string]float64
}

// finish computes what follows from the counters.
func (s *growthStep) finish() {
	capacity := s.took.Seconds() * float64(runtime.NumCPU())
	s.busy, s.others = s.cpu.machine.Seconds()/capacity, (s.cpu.machine-s.cpu.own).Seconds()/capacity
	each := func(spent time.Duration) float64 { return 1000 * spent.Seconds() / max(1, float64(s.confirmedInAll)) }
	s.processorMs, s.msOfProgram = each(s.cpu.own), map[string]float64{}
	for name, spent := range s.cpu.programs {
		s.msOfProgram[name] = each(spent)
	}
}

// compare compares a step with the first one of its series.
func (s *growthStep) compare(first growthStep) {
	s.linear = s.confirmed / (first.confirmed * float64(s.databases))
	if first.processorMs > 0 {
		s.perEvent = s.processorMs / first.processorMs
	}
}

func growthTable(steps []growthStep) string {
	var table strings.Builder
	fmt.Fprintf(&table, "| events/s into each | databases | emitted/s | confirmed/s | of linear | processors busy | other programs | CPU ms an event | PostgreSQL | Redis | relay | %s |\n|%s\n", growthSelf, strings.Repeat("---|", 12))
	for _, s := range steps {
		of := s.msOfProgram
		fmt.Fprintf(&table, "| %.0f | %d | %.0f | %.0f | %.2f | %.0f %% | %.0f %% | %.2f | %.2f | %.2f | %.2f | %.2f |\n", s.rate, s.databases, s.emitted, s.confirmed, s.linear,
			100*s.busy, 100*s.others, s.processorMs, of["postgres"], of["redis-server"], of[growthRelay], of[growthSelf])
	}
	return table.String()
}

// judgeGrowth reports what is wrong with the steps.
func judgeGrowth(t *testing.T, steps []growthStep) {
	t.Helper()
	for _, s := range steps {
		what := fmt.Sprintf("%d databases at %.0f events/s", s.databases, s.rate)
		for _, fault := range s.faults() {
			t.Errorf("%s: %s", what, fault)
		}
		if s.busy >= growthFull {
			t.Logf("%s: the machine is full", what)
		}
	}
}

// faults returns what is wrong with a step. A step must confirm as much as its databases times the first step,
// unless it filled the machine without the help of other programs. An event must not cost much more than in the
// first step.
func (s *growthStep) faults() (faults []string) {
	if math.Abs(s.linear-1) > growthTolerance && (s.busy < growthFull || s.others > growthOthers) {
		faults = append(faults, fmt.Sprintf("%.0f events/s are confirmed, which is %.2f of linear growth", s.confirmed, s.linear))
	}
	if s.perEvent > 1+growthTolerance {
		faults = append(faults, fmt.Sprintf("an event costs %.2f ms of processor time, which is %.2f of what it costs with one database", s.processorMs, s.perEvent))
	}
	if len(faults) > 0 && s.others > growthOthers {
		faults = append(faults, fmt.Sprintf("other programs used %.0f %% of the machine: try again when they do not run", 100*s.others))
	}
	return faults
}

// A full machine excuses that less is confirmed, but not that an event costs more.
func TestAFullMachineExcusesNoCosts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		step growthStep
		want int
	}{
		"as much, as cheap":                      {growthStep{linear: 1, perEvent: 1}, 0},
		"less":                                   {growthStep{linear: 0.8, perEvent: 1}, 1},
		"less, on a full machine":                {growthStep{linear: 0.8, perEvent: 1, busy: growthFull}, 0},
		"less, other programs fill the machine":  {growthStep{linear: 0.8, perEvent: 1, busy: growthFull, others: 0.2}, 2},
		"dearer":                                 {growthStep{linear: 1, perEvent: 1.3}, 1},
		"dearer, on a full machine":              {growthStep{linear: 0.8, perEvent: 1.3, busy: growthFull}, 1},
		"dearer, other programs take processors": {growthStep{linear: 1, perEvent: 1.3, others: 0.2}, 2},
	} {
		if faults := test.step.faults(); len(faults) != test.want {
			t.Errorf("%s: %q, want %d faults", name, faults, test.want)
		}
	}
}

// plotGrowth draws a line for each rate and the linear growth beside it.
func plotGrowth(t *testing.T, steps []growthStep) {
	t.Helper()
	plot := bench.Plot{
		Title:  fmt.Sprintf("Databases on one Redis Cluster of three masters, on a machine of %d processors", runtime.NumCPU()),
		XTitle: "databases that are fed (beside each point: the part of the processors that the simulation used)", YTitle: "events confirmed per second, of all databases together", XStep: 1,
	}
	for i := 0; i < len(steps); {
		measured := bench.Line{Name: fmt.Sprintf("%.0f events/s into each: confirmed", steps[i].rate)}
		linear := bench.Line{Name: "linear growth from the first database"}
		for first := steps[i]; i < len(steps) && steps[i].rate == first.rate; i++ {
			x := float64(steps[i].databases)
			measured.Points = append(measured.Points, bench.Point{X: x, Y: steps[i].confirmed})
			measured.Notes = append(measured.Notes, fmt.Sprintf("%.0f %%", 100*(steps[i].busy-steps[i].others)))
			linear.Points = append(linear.Points, bench.Point{X: x, Y: first.confirmed * x})
			plot.XMax = max(plot.XMax, x+0.4)
		}
		plot.Lines = append(plot.Lines, measured, linear)
	}
	var text strings.Builder
	if err := plot.Write(&text); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(text.String(), "<polyline "); got != len(plot.Lines) {
		t.Errorf("the plot has %d lines, want %d", got, len(plot.Lines))
	}
	if *growthPlot == "" {
		return
	}
	if err := os.WriteFile(*growthPlot, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
