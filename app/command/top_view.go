package command

import (
	"fmt"
	"io"
	"time"

	"outboxd/app/command/terminal"
	"outboxd/domain"
)

// topView is one look, as JSON has it.
type topView struct {
	At             time.Time `json:"at"` // by the database's clock
	Pending        int64     `json:"pending"`
	Estimated      bool      `json:"pending_is_estimated"`
	Held           int64     `json:"held"`
	InRedis        int64     `json:"in_redis"`
	Dead           int64     `json:"dead"`
	OldestDue      float64   `json:"oldest_due_seconds"` // 0: none is due
	Now            topFlow   `json:"now"`                // the last half minute
	Hour           topFlow   `json:"hour"`
	ConfirmedOfDay int64     `json:"confirmed_of_day"`

	Relays   []topRelay        `json:"relays"`
	Workers  []topWorker       `json:"workers"`
	Queues   []topQueue        `json:"queues"`
	Findings []findingDocument `json:"findings"`

	findings []domain.Finding
	workers  []domain.WorkerStatus
}

// topFlow is in events a second.
type topFlow struct {
	Emitted   float64 `json:"emitted_per_second"`
	Enqueued  float64 `json:"enqueued_per_second"`
	Confirmed float64 `json:"confirmed_per_second"`
	Died      float64 `json:"died_per_second"`
}

type topRelay struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Asleep  bool      `json:"asleep"`
	Leads   bool      `json:"keeps_house"`
	SeenAt  time.Time `json:"seen_at"`
}

type topWorker struct {
	Host        string `json:"host"`
	PID         int    `json:"pid"`
	Busy        int    `json:"busy"`
	Concurrency int    `json:"concurrency"`
}

type topQueue struct {
	Name      string `json:"name"`
	Pending   int64  `json:"pending"`
	Active    int64  `json:"active"`
	Scheduled int64  `json:"scheduled"`
	Retry     int64  `json:"retry"`
	Archived  int64  `json:"archived"`
}

func newTopFlow(f domain.Flow) topFlow {
	return topFlow{f.Rate(f.Emitted), f.Rate(f.Enqueued), f.Rate(f.Confirmed), f.Rate(f.Died)}
}

// fill enters what was read.
func (v *topView) fill(s *domain.Standing, queues []domain.QueueStatus) {
	v.At, v.Pending, v.Estimated, v.Held, v.Dead = s.At.UTC(), s.Pending, s.Estimated, s.Held, s.Dead
	if !s.OldestDue.IsZero() {
		v.OldestDue = max(s.At.Sub(s.OldestDue).Seconds(), 0)
	}
	v.Now, v.Hour, v.ConfirmedOfDay = newTopFlow(s.Now), newTopFlow(s.Hour), s.Day.Confirmed
	v.Relays, v.Workers, v.Queues = []topRelay{}, []topWorker{}, []topQueue{}
	for _, r := range s.Relays {
		v.Relays = append(v.Relays, topRelay{r.Host, r.PID, r.Version, r.Asleep, r.Leads, r.SeenAt.UTC()})
	}
	for _, w := range v.workers {
		v.Workers = append(v.Workers, topWorker{w.Host, w.PID, w.Busy, w.Concurrency})
	}
	for _, q := range queues {
		v.InRedis += q.Unfinished()
		v.Queues = append(v.Queues, topQueue{q.Name, q.Pending, q.Active, q.Scheduled, q.Retry, q.Archived})
	}
	v.Findings = newExamination(v.findings).Findings
}

func (v topView) table(w io.Writer) {
	about := ""
	if v.Estimated {
		about = "~"
	}
	fmt.Fprintf(w, "%s UTC\tPENDING\tHELD\tIN REDIS\tCONFIRMED\tDEAD\n", terminal.Instant(v.At))
	fmt.Fprintf(w, "events\t%s%d\t%d\t%d\t%d a day\t%d\n", about, v.Pending, v.Held, v.InRedis, v.ConfirmedOfDay, v.Dead)
	for _, f := range []struct {
		name string
		topFlow
	}{{"per second now", v.Now}, {"per second, hour", v.Hour}} {
		fmt.Fprintf(w, "%s\t+%.1f\t\t+%.1f\t+%.1f\t+%.1f\n", f.name, f.Emitted, f.Enqueued, f.Confirmed, f.Died)
	}
	fmt.Fprintf(w, "oldest due\t%v\n", time.Duration(v.OldestDue*float64(time.Second)).Round(time.Millisecond))
	fmt.Fprintln(w, "\nRELAY\tPID\tVERSION\tSTATE\tSEEN")
	for _, r := range v.Relays {
		state := "awake"
		if r.Asleep {
			state = "asleep"
		}
		if r.Leads {
			state += ", keeps house"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%v ago\n", terminal.OneLine(r.Host, 40), r.PID, terminal.OneLine(r.Version, 20), state, v.At.Sub(r.SeenAt).Round(time.Second))
	}
	fmt.Fprintln(w, "\nWORKER\tPID\tBUSY\tOF")
	for _, k := range v.Workers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", terminal.OneLine(k.Host, 40), k.PID, k.Busy, k.Concurrency)
	}
	fmt.Fprintln(w, "\nQUEUE\tPENDING\tACTIVE\tSCHEDULED\tRETRY\tARCHIVED")
	for _, q := range v.Queues {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", terminal.OneLine(q.Name, 40), q.Pending, q.Active, q.Scheduled, q.Retry, q.Archived)
	}
}
