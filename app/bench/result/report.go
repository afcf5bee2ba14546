package result

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what one benchmark measured. Its JSON form is stable.
type Report struct {
	Bench  string             `json:"bench"`
	Arms   []Arm              `json:"arms"`
	Ratios map[string]float64 `json:"ratios,omitempty"`
	// Suggestions are options to set, if the benchmark suggests some.
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	// Values other than rates; nil if the benchmark does not measure them.
	P50                   *float64          `json:"p50_ms,omitempty"`
	P99                   *float64          `json:"p99_ms,omitempty"`
	TransactionsPerSecond *float64          `json:"transactions_per_second,omitempty"`
	Environment           map[string]string `json:"environment"` // versions, machine, settings
	Notes                 []string          `json:"notes,omitempty"`
}

// Suggestion says which options to set for one kind of handlers.
type Suggestion struct {
	Handlers    string   `json:"handlers"` // what kind it is
	Flags       []string `json:"flags"`    // to be given to outboxd
	Tasks       int      `json:"tasks"`    // at once
	Connections int      `json:"connections"`
	// Default is how many tasks at once the process runs here if no option sets the number.
	Default int    `json:"default"`
	Reason  string `json:"reason"`
}

// Arm is one of the variants that a benchmark compares.
type Arm struct {
	Name string `json:"name"`
	// EventsPerSecond is the median of the rounds; 0 if the arm measures
	// something else.
	EventsPerSecond float64   `json:"events_per_second,omitempty"`
	Rounds          []float64 `json:"rounds,omitempty"` // each round's figure
	// Figures are named values, such as "lag_p50_ms". Compare adds up the figures of an
	// arm's rounds.
	Figures map[string]float64 `json:"figures,omitempty"`
	// Curve is the rate over the number of events, for a plot.
	Curve []Point `json:"curve,omitempty"`
}

// Point is one point of a curve.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Median returns the median of values; 0 if there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, a := range r.Arms {
		fmt.Fprintf(table, "%s\t", a.Name)
		if a.EventsPerSecond > 0 {
			fmt.Fprintf(table, "%.0f events/s\t", a.EventsPerSecond)
		}
		if len(a.Rounds) > 1 {
			fmt.Fprintf(table, "from %.0f to %.0f in %d rounds\t", slices.Min(a.Rounds), slices.Max(a.Rounds), len(a.Rounds))
		}
		for _, name := range slices.Sorted(maps.Keys(a.Figures)) {
			fmt.Fprintf(table, "%s %.4g\t", name, a.Figures[name])
		}
		fmt.Fprintln(table)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Ratios)) {
		fmt.Fprintf(table, "ratio %s\t%.3g\t\n", name, r.Ratios[name])
	}
	for _, value := range []struct {
		name string
		v    *float64
	}{{"p50_ms", r.P50}, {"p99_ms", r.P99}, {"transactions_per_second", r.TransactionsPerSecond}} {
		if value.v != nil {
			fmt.Fprintf(table, "%s\t%.4g\t\n", value.name, *value.v)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range r.Suggestions {
		if _, err := fmt.Fprintf(w, "\nFor handlers with %s:\n  %s\n%s\n", s.Handlers, strings.Join(s.Flags, " "), s.Reason); err != nil {
			return err
		}
	}
	if len(r.Suggestions) > 0 && len(r.Notes) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}
