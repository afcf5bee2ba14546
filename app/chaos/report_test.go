package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run was and what it counted.
type Report struct {
	Seed    uint64
	Profile string
	Storm   time.Duration // how long faults fell
	Settled time.Duration // how long it took then until nothing was left to do
	Faults  []happening
	Starts  map[string]int // processes started, by role
	Failed  map[string]int // processes that ended by themselves with an error, by role
	Stopped map[string]int // of these, how many had logged that they are ready: relays and deliverers
	Words   []string       // the last line of output of each that failed
	First   *Verdict       // nil unless the workers left
	Last    *Verdict       // nil if the run did not get so far
	Account *Account       // nil if the run did not get so far
}

// OK reports whether every promise was kept.
func (r *Report) OK() bool {
	return len(r.Stopped) == 0 && r.Last != nil && r.Last.OK() && (r.First == nil || r.First.OK()) && r.Account != nil && r.Account.OK()
}

func (r *Report) close(w *weather, f *fleet) {
	r.Faults, r.Starts, r.Failed = w.happened, map[string]int{}, map[string]int{}
	r.Stopped = map[string]int{}
	for _, s := range f.all() {
		role, _, _ := strings.Cut(s.name, " ")
		s.mu.Lock()
		r.Starts[role] += s.starts
		if s.failed > 0 {
			r.Failed[role] += s.failed
			r.Words = append(r.Words, s.words...)
		}
		if s.stopped > 0 {
			r.Stopped[role] += s.stopped
		}
		s.mu.Unlock()
	}
}

// hits counts the faults that hit something, by kind, and by what they hit.
func (r *Report) hits() map[Kind]map[string]int {
	hits := map[Kind]map[string]int{}
	for _, f := range r.Faults {
		if f.Hit == "" {
			continue
		}
		what, _, _ := strings.Cut(f.Hit, " ")
		switch f.Kind {
		case Kill, Pause:
		case InsertOdd:
			what, _, _ = strings.Cut(f.Hit, ":")
		default:
			what = f.Hit
		}
		if hits[f.Kind] == nil {
			hits[f.Kind] = map[string]int{}
		}
		hits[f.Kind][what]++
	}
	return hits
}

func (r *Report) faults() (total int) {
	for _, byTarget := range r.hits() {
		for _, n := range byTarget {
			total += n
		}
	}
	return total
}

// Write writes the report of one run.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "profile %s, seed %d: faults for %v, settled %v later\n", r.Profile, r.Seed, r.Storm.Round(time.Millisecond), r.Settled.Round(time.Millisecond))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	hits := r.hits()
	for _, kind := range slices.Sorted(maps.Keys(hits)) {
		total, parts := 0, []string(nil)
		for _, what := range slices.Sorted(maps.Keys(hits[kind])) {
			n := hits[kind][what]
			total += n
			parts = append(parts, fmt.Sprintf("%s: %d", what, n))
		}
		fmt.Fprintf(table, "  %s\t%d\t%s\n", kind, total, strings.Join(parts, ", "))
	}
	_ = table.Flush()
	fmt.Fprintf(w, "  processes started: %s; ended by themselves with an error: %s; of them after they had been ready: %s\n", counts(r.Starts), counts(r.Failed), counts(r.Stopped))
	times := map[string]int{}
	for _, words := range r.Words {
		times[words]++
	}
	for _, words := range slices.Sorted(maps.Keys(times)) {
		fmt.Fprintf(w, "    %d times %s\n", times[words], words)
	}
	if r.First != nil {
		fmt.Fprintf(w, "before the workers were back: %s\n", r.First.line())
	}
	if r.Last != nil {
		fmt.Fprintf(w, "in the end: %s\n", r.Last.line())
	}
	for _, v := range []*Verdict{r.First, r.Last} {
		if v != nil && !v.OK() {
			fmt.Fprint(w, v)
		}
	}
	if r.Account != nil {
		fmt.Fprintln(w, r.Account)
	}
}

func (v *Verdict) line() string {
	text := fmt.Sprintf("%d events committed (%d acknowledged, %d more rolled back), %d in Redis, %d took effect",
		v.Committed, v.Told, v.Undone, v.Queued, v.Processed)
	if v.Ordered > 0 {
		text += fmt.Sprintf(", %d of them with an ordering key", v.Ordered)
	}
	if v.Delivered > 0 {
		text += fmt.Sprintf(", %d deliveries over HTTP (%d more were repeats)", v.Delivered, v.Again)
	}
	if len(v.Changes) > 0 {
		text += fmt.Sprintf(", %d were cancelled (asked: %s)", v.Cancelled, counts(v.Changes))
	}
	if v.Repeats > 0 {
		text += fmt.Sprintf(", %d are in Redis again", v.Repeats)
	}
	if len(v.Odd) > 0 {
		text += fmt.Sprintf("; odd rows: %s", counts(v.Odd))
	}
	if v.Overtaken > 0 {
		text += fmt.Sprintf(", %d before another of their key that had committed earlier", v.Overtaken)
	}
	return text
}

func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// WriteTable writes a line for each run.
func WriteTable(w io.Writer, reports []*Report) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"profile", "seed", "faults for", "faults", "events", "in Redis", "effects", "ordered", "repeats"}
	fmt.Fprintln(table, strings.Join(append(append(head, violations...), "account"), "\t")+"\t")
	for _, r := range reports {
		v := r.Last
		if v == nil {
			fmt.Fprintf(table, "%s\t%d\t%v\t%d\tdid not settle\t\n", r.Profile, r.Seed, r.Storm.Round(time.Second), r.faults())
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%v\t%d\t%d\t%d\t%d\t%d\t%d\t", r.Profile, r.Seed, r.Storm.Round(time.Second), r.faults(), v.Committed, v.Queued, v.Processed, v.Ordered, v.Repeats)
		for _, name := range violations {
			n := v.Violations[name]
			if r.First != nil {
				n = max(n, r.First.Violations[name])
			}
			fmt.Fprintf(table, "%d\t", n)
		}
		if r.Account == nil || !r.Account.OK() {
			fmt.Fprint(table, "broken\t")
		} else {
			fmt.Fprint(table, "adds up\t")
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}
