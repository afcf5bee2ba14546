package command

import (
	"fmt"
	"io"
	"time"

	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// topView is one look in JSON.
type topView struct {
	Headline       string    `json:"headline"`
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
}

// topFlow has rates in events a second.
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
	Leads   bool      `json:"leads"`
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

// newTopView returns the view of a look and its findings.
func newTopView(quick diagnosis.Quick, found []domain.Finding) (v topView) {
	s := &quick.Standing
	v.Headline = diagnosis.Headline(found, quick.Waiting())
	v.At, v.Pending, v.Estimated, v.Held, v.Dead = s.At.UTC(), s.Pending, s.Estimated, s.Held, s.Dead
	v.OldestDue = diagnosis.Late(*s).Seconds()
	v.Now, v.Hour, v.ConfirmedOfDay = newTopFlow(s.Now), newTopFlow(s.Hour), s.Day.Confirmed
	v.Relays, v.Workers, v.Queues = []topRelay{}, []topWorker{}, []topQueue{}
	for _, r := range s.Relays {
		v.Relays = append(v.Relays, topRelay{r.Host, r.PID, r.Version, r.Asleep, r.Leads, r.SeenAt.UTC()})
	}
	for _, w := range quick.Workers {
		v.Workers = append(v.Workers, topWorker{w.Host, w.PID, w.Busy, w.Concurrency})
	}
	for _, q := range quick.Queues {
		v.InRedis += q.Unfinished()
		v.Queues = append(v.Queues, topQueue{q.Name, q.Pending, q.Active, q.Scheduled, q.Retry, q.Archived})
	}
	v.Findings = newExamination(found).Findings
	return v
}

func (v topView) table(w io.Writer) {
	about := ""
	if v.Estimated {
		about = "~"
	}
	count := words.Count[int64]
	fmt.Fprintf(w, "%s UTC\tPENDING\tHELD\tIN REDIS\tCONFIRMED\tDEAD\n", terminal.Instant(v.At))
	fmt.Fprintf(w, "events\t%s%s\t%s\t%s\t%s in 24 h\t%s\n", about, count(v.Pending), count(v.Held), count(v.InRedis), count(v.ConfirmedOfDay), count(v.Dead))
	for _, f := range []struct {
		name string
		topFlow
	}{{"now", v.Now}, {"last hour", v.Hour}} {
		fmt.Fprintf(w, "%s\t+%s\t\t+%s\t+%s\t+%s\n", f.name, words.Rate(f.Emitted), words.Rate(f.Enqueued), words.Rate(f.Confirmed), words.Rate(f.Died))
	}
	oldest := "none"
	if v.OldestDue > 0 {
		oldest = words.Duration(time.Duration(v.OldestDue * float64(time.Second)))
	}
	fmt.Fprintf(w, "oldest due\t%s\n", oldest)
	fmt.Fprintln(w, "\nRELAY\tPID\tVERSION\tSTATE\tSEEN")
	for _, r := range v.Relays {
		state := "awake"
		if r.Asleep {
			state = "asleep"
		}
		if r.Leads {
			state += ", leader"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", terminal.OneLine(r.Host, 40), r.PID, terminal.OneLine(r.Version, 20), state, words.Ago(v.At, r.SeenAt))
	}
	fmt.Fprintln(w, "\nWORKER\tPID\tBUSY\tOF")
	for _, k := range v.Workers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", terminal.OneLine(k.Host, 40), k.PID, k.Busy, k.Concurrency)
	}
	fmt.Fprintln(w, "\nQUEUE\tPENDING\tACTIVE\tSCHEDULED\tRETRY\tARCHIVED")
	for _, q := range v.Queues {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(q.Name, 40), count(q.Pending), count(q.Active), count(q.Scheduled), count(q.Retry), count(q.Archived))
	}
}
