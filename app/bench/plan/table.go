package plan

import (
	"fmt"
	"io"
	"strings"
)

// titles are the costs' names in the table.
var titles = map[Cost]string{
	ProducePostgres: "PostgreSQL, the producer's commit\tµs of CPU",
	RelayPostgres:   "PostgreSQL, relaying\tµs of CPU",
	HandlePostgres:  "PostgreSQL, the handler's inbox row\tµs of CPU",
	RelayProcess:    "relay\tµs of CPU",
	WorkerProcess:   "worker\tµs of CPU",
	RelayRedis:      "Redis, enqueueing\tµs of CPU",
	HandleRedis:     "Redis, taking and ending the task\tµs of CPU",
	WAL:             "PostgreSQL's log\tbytes",
	Flushes:         "PostgreSQL's log\tflushes",
	Rows:            "rows written in PostgreSQL\trows",
	Kept:            "kept in history and inbox\tbytes",
	Waiting:         "memory in Redis while it waits\tbytes",
	NetworkPostgres: "network of PostgreSQL\tbytes",
	NetworkRedis:    "network of Redis\tbytes",
}

// Write writes the plan for people, with columns separated by tabs.
func (p *Plan) Write(w io.Writer) {
	q := &p.Question
	fmt.Fprintf(w, "Costs of one event with %d bytes of payload (%s)\n", q.Payload, p.Measured.Source)
	for _, cost := range All() {
		fmt.Fprintf(w, "  %s\t%s\n", titles[cost], number(p.Event[cost]))
	}
	fmt.Fprintf(w, "\nAt %s events/s\n", number(q.Rate))
	for _, l := range p.Load {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", l.Name, l.Unit, number(l.Value))
	}
	fmt.Fprintf(w, "\nWhere each part is full, at %.0f %% of: %d cores a machine, a disk of %s MB/s and %s flushes/s,\n", q.Share*100, q.Cores, number(q.DiskMB), number(q.DiskFlushes))
	fmt.Fprintf(w, "a network of %s MB/s, %s GB of memory in Redis; %d pollers a relay, batches of %d, %v of round trip\n",
		number(q.NetworkMB), number(q.RedisMemoryGB), q.Pollers, q.Batch, q.RTT)
	for _, l := range p.Limits {
		fmt.Fprintf(w, "  %s\tevents/s\t%s\n", l.Name, number(l.EventsPerSecond))
	}
	fmt.Fprintln(w, "\nWhat is reached first")
	for _, s := range p.Steps {
		fmt.Fprintf(w, "  %s events/s\t%s\n", number(s.EventsPerSecond), s.text())
	}
	fmt.Fprintln(w, "\nWhat lifts it")
	for _, l := range p.Limits {
		fmt.Fprintf(w, "  %s\t%s\n", l.Name, l.Lift)
	}
}

// text says in a line what the rate needs.
func (s *Step) text() string {
	if !s.Reached {
		return "nothing; the first limit would be " + s.First
	}
	needs := make([]string, len(s.Needs))
	for i, n := range s.Needs {
		needs[i] = fmt.Sprintf("%d %s", n.Count, n.Unit)
	}
	return s.First + "; needs " + strings.Join(needs, ", ")
}

// number writes a number with a comma between thousands. A number from 1 on has three significant
// digits at least, a smaller one has two digits after the point.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	var text strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			text.WriteByte(',')
		}
		text.WriteRune(d)
	}
	return text.String()
}
