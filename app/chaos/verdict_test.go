package chaos

import (
	"fmt"
	"slices"
	"strings"

	"outboxd/domain"
)

// trace is where an event was found, and how often, when all had settled.
type trace struct {
	committed uint8 // in the ledger: its transaction committed
	told      uint8 // in a journal: the producer was told so
	undone    uint8 // in a journal: the producer was told that it was rolled back
	waiting   uint8 // in one of outboxd's tables of what is still to be relayed
	dead      uint8 // given up, by the relay or by Asynq
	queued    uint8 // in Redis, to be run
	processed uint8 // in the inbox
	effects   uint8 // of its effect
	garbled   bool  // the effect is another event's
	cancelled bool  // a producer was told so in a transaction that committed, or the leader did it on a producer's request
	requested bool  // a producer asked the leader to cancel it; a delivery may have been attempted before
	delivery  bool  // the trace is that of a delivery over HTTP and not of an event
}

// traces are all events that were found anywhere.
type traces map[domain.ID]*trace

func (t traces) of(id domain.ID) *trace {
	found := t[id]
	if found == nil {
		found = &trace{}
		t[id] = found
	}
	return found
}

// The violations that a Verdict counts: what must not be.
const (
	lost      = "lost"      // committed, and nowhere
	left      = "left"      // still in outboxd's tables
	doubled   = "doubled"   // two effects, or twice in Redis
	phantom   = "phantom"   // somewhere, and never committed
	given     = "given up"  // dead letter or archived, though nothing was wrong with it
	forgotten = "forgotten" // acknowledged, and not in the ledger: PostgreSQL's own loss
	torn      = "torn"      // inbox row without effect, or effect without inbox row
	garbled   = "garbled"   // the effect has the payload of another event
	disorder  = "disorder"  // took effect at another position of its key than the commits say
	both      = "both"      // cancelled, and took effect
)

var violations = []string{lost, left, doubled, phantom, given, forgotten, torn, garbled, disorder, both}

// Verdict is the count of a run.
type Verdict struct {
	Committed int            // events
	Told      int            // of which the producer knew
	Undone    int            // events of transactions that were rolled back
	Queued    int            // events in Redis and not processed
	Processed int            // events with an effect
	Repeats   int            // events that took effect and are in Redis again, which the inbox makes harmless
	Ordered   int            // events with an ordering key that took effect
	Overtaken int            // events of keys without promise of order that took effect at another position than the commits say
	Odd       map[string]int // odd rows that were not refused, by how they ended
	Changes   map[string]int // what producers asked for, and were answered
	Cancelled int            // events that were cancelled
	Delivered int            // deliveries over HTTP that a receiver took
	Again     int            // deliveries that a receiver took once more, and has to recognise
	// Violations holds the numbers of events that break a promise, and
	// Examples some of each.
	Violations map[string]int
	Examples   map[string][]domain.ID
}

// OK reports whether every promise was kept.
func (v *Verdict) OK() bool { return len(v.Violations) == 0 }

// String implements fmt.Stringer: the violations, with examples.
func (v *Verdict) String() string {
	if v.OK() {
		return "every promise was kept"
	}
	var text strings.Builder
	for _, name := range violations {
		if n := v.Violations[name]; n > 0 {
			fmt.Fprintf(&text, "%s: %d events, such as %v\n", name, n, v.Examples[name])
		}
	}
	return text.String()
}

const examples = 5

func (v *Verdict) violate(name string, id domain.ID) {
	if v.Violations == nil {
		v.Violations, v.Examples = map[string]int{}, map[string][]domain.ID{}
	}
	v.Violations[name]++
	if len(v.Examples[name]) < examples {
		v.Examples[name] = append(v.Examples[name], id)
	}
}

// judge counts the events that break a promise. An event that breaks several counts
// once, for the first that the function violation finds; a disorder is counted in
// addition.
func judge(all traces, sequences []position) *Verdict {
	v := &Verdict{}
	for id, t := range all {
		v.count(t)
		if name := t.violation(); name != "" {
			v.violate(name, id)
		}
	}
	for _, p := range sequences {
		if p.ordered {
			v.Ordered++
		}
		switch {
		case p.seen == p.committed:
		case p.ordered:
			v.violate(disorder, p.id)
		default:
			v.Overtaken++
		}
	}
	for _, ids := range v.Examples {
		slices.SortFunc(ids, func(a, b domain.ID) int { return slices.Compare(a[:], b[:]) })
	}
	return v
}

func (v *Verdict) count(t *trace) {
	if t.delivery {
		return
	}
	if t.cancelled && t.committed > 0 {
		v.Committed++
		v.Told += int(t.told)
		v.Cancelled++
		return
	}
	v.Committed += int(t.committed)
	v.Told += int(t.told)
	v.Undone += int(t.undone)
	switch {
	case t.processed > 0 && t.queued > 0:
		v.Processed++
		v.Repeats++
	case t.processed > 0:
		v.Processed++
	case t.queued > 0:
		v.Queued++
	}
}

func (t *trace) violation() string {
	there := t.waiting > 0 || t.dead > 0 || t.queued > 0 || t.processed > 0 || t.effects > 0
	switch {
	case t.committed == 0 && there:
		return phantom
	case t.committed == 0 && t.told > 0:
		return forgotten
	case t.committed == 0:
		return ""
	case t.cancelled && t.effects > 0 && !(t.delivery && t.requested):
		return both
	case t.cancelled && t.waiting > 0:
		return left
	case t.cancelled:
		return ""
	case !there:
		return lost
	case t.effects > 1, t.queued > 1, t.committed > 1:
		return doubled
	case t.effects != t.processed:
		return torn
	case t.garbled:
		return garbled
	case t.waiting > 0:
		return left
	case t.dead > 0:
		return given
	default:
		return ""
	}
}

// position is one event's place among those of its key: in the order of their
// commits, and in that of their effects. Both count from 0.
type position struct {
	id              domain.ID
	ordered         bool // by promise
	committed, seen int64
}
