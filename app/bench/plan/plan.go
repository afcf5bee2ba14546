package plan

import "slices"

// Question is what the user asks: the rate and the payload of the events, and the machines
// that they go through.
type Question struct {
	Rate    float64 `json:"events_per_second"`
	Payload int     `json:"payload_bytes"`
	Machines
}

// Plan is the answer. Its JSON form can be given to --assume.
type Plan struct {
	Question Question `json:"question"`
	Measured Measured `json:"measured"`
	Event    Costs    `json:"event"`  // the costs of one event with that payload
	Load     []Load   `json:"load"`   // at the rate of the question
	Limits   []Limit  `json:"limits"` // the lowest rate first
	Steps    []Step   `json:"steps"`
}

// Load is how much of something the rate of the question uses.
type Load struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Step says which limits the installation reaches at one rate, and what it needs more
// of.
type Step struct {
	EventsPerSecond float64 `json:"events_per_second"`
	First           string  `json:"first"` // the limit that is reached first
	Reached         bool    `json:"reached"`
	Needs           []Need  `json:"needs"` // the units, such as databases, of which the installation needs more than one
}

// Need says of which unit, such as databases, the installation needs more than one,
// and how many.
type Need struct {
	Unit  string `json:"unit"`
	Count int    `json:"count"`
	For   string `json:"for"` // the name of the limit
}

// rates are the steps that every plan has.
var rates = []float64{1_000, 10_000, 100_000}

// Make computes a plan.
func Make(q Question, measured Measured) *Plan {
	costs := measured.Lines.At(q.Payload)
	p := &Plan{Question: q, Measured: measured, Event: costs, Load: load(q.Rate, costs, &q.Machines), Limits: Limits(costs, &q.Machines)}
	for _, rate := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(rates), q.Rate)))) {
		p.Steps = append(p.Steps, step(rate, p.Limits))
	}
	return p
}

// step returns what a rate needs. Several limits may have the same unit, such as
// databases. Then there is one need for the unit, and it names the limit that is reached
// first.
func step(rate float64, limits []Limit) Step {
	s := Step{EventsPerSecond: rate, Needs: []Need{}, First: limits[0].Name, Reached: limits[0].EventsPerSecond < rate}
	seen := map[string]bool{}
	for _, l := range limits {
		if l.EventsPerSecond >= rate || seen[l.Unit] {
			continue
		}
		seen[l.Unit] = true
		s.Needs = append(s.Needs, Need{l.Unit, needed(rate, l), l.Name})
	}
	return s
}

func load(rate float64, c Costs, m *Machines) []Load {
	const hour, gib = 3600, 1 << 30
	return []Load{
		{"PostgreSQL's processors", rate * c.Postgres() / million, "cores"},
		{"relays' processors", rate * c[RelayProcess] / million, "cores"},
		{"workers' processors", rate * c[WorkerProcess] / million, "cores"},
		{"Redis's main thread", rate * c.Redis() / million, "cores"},
		{"PostgreSQL's log", rate * c[WAL] / million, "MB/s"},
		{"flushes of PostgreSQL's disk", rate * c[Flushes], "a second"},
		{"rows written", rate * c[Rows], "a second"},
		{"kept in PostgreSQL", rate * c[Kept] * hour / gib, "GiB an hour"},
		{"Redis's memory, consumers away for " + m.Away.String(), rate * c[Waiting] * m.Away.Seconds() / gib, "GiB"},
		{"PostgreSQL's network", rate * c[NetworkPostgres] / million, "MB/s"},
		{"Redis's network", rate * c[NetworkRedis] / million, "MB/s"},
	}
}
