package health

import (
	"fmt"
	"io"
	"time"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// TopView is the state of the system at one moment, in JSON. A value that could not
// be read is null.
type TopView struct {
	Headline       string    `json:"headline"`
	At             time.Time `json:"at"` // by the database's clock, or this machine's if that is not known
	Pending        *int64    `json:"pending"`
	Estimated      bool      `json:"pending_is_estimated"`
	Held           *int64    `json:"held"`
	InRedis        *int64    `json:"in_redis"`
	Dead           *int64    `json:"dead"`
	OldestDue      *float64  `json:"oldest_due_seconds"` // 0: none is due
	Now            *topFlow  `json:"now"`                // the last half minute
	Hour           *topFlow  `json:"hour"`
	ConfirmedOfDay *int64    `json:"confirmed_of_day"`

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
	Seconds   float64 `json:"seconds"` // how much of the time was measured; 0: nothing, and the rates are not known

	span time.Duration
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

func newTopFlow(f overview.Flow) *topFlow {
	return &topFlow{f.Rate(f.Emitted), f.Rate(f.Enqueued), f.Rate(f.Confirmed), f.Rate(f.Died), f.Seconds, f.HourSpan()}
}

// newTopView returns the view for the quick facts and the findings.
func newTopView(quick diagnosis.Quick, found []domain.Finding) (v TopView) {
	s := &quick.Standing
	v.Headline = diagnosis.Headline(found, quick.Waiting())
	v.At = quick.At.UTC()
	if quick.PostgresErr == nil {
		v.At, v.Pending, v.Estimated, v.Held, v.Dead = s.At.UTC(), &s.Pending, s.Estimated, &s.Held, &s.Dead
		v.OldestDue = new(diagnosis.Late(*s).Seconds())
		v.Now, v.Hour, v.ConfirmedOfDay = newTopFlow(s.Now), newTopFlow(s.Hour), &s.Day.Confirmed
		v.Relays = []topRelay{}
	}
	if quick.RedisErr == nil {
		v.InRedis, v.Workers, v.Queues = new(int64), []topWorker{}, []topQueue{}
	}
	for _, r := range s.Relays {
		v.Relays = append(v.Relays, topRelay{r.Host, r.PID, r.Version, r.Asleep, r.Leads, r.SeenAt.UTC()})
	}
	for _, w := range quick.Workers {
		v.Workers = append(v.Workers, topWorker{w.Host, w.PID, w.Busy, w.Concurrency})
	}
	for _, q := range quick.Queues {
		*v.InRedis += q.Unfinished()
		v.Queues = append(v.Queues, topQueue{q.Name, q.Pending, q.Active, q.Scheduled, q.Retry, q.Archived})
	}
	v.Findings = newExamination(found).Findings
	return v
}

// table prints the view. Its lines are meant for about 60 columns.
func (v TopView) table(w io.Writer) {
	const name, version = 12, 10
	pending, confirmed, oldest := cli.Counted(v.Pending), cli.Counted(v.ConfirmedOfDay), cli.Unknown
	if v.Estimated {
		pending = "~" + pending
	}
	held, dead := cli.Counted(v.Held), cli.Counted(v.Dead)
	if v.Held != nil && *v.Held >= overview.StandingCounted {
		held = "~" + held
	}
	if v.Dead != nil && *v.Dead >= overview.StandingCounted {
		dead += " or more"
	}
	if v.OldestDue != nil {
		oldest = "none"
		if *v.OldestDue > 0 {
			oldest = words.Duration(time.Duration(*v.OldestDue * float64(time.Second)))
		}
	}
	rates := func(of func(topFlow) float64) string {
		rate := func(f *topFlow) string {
			if f == nil || f.Seconds == 0 {
				return cli.Unknown
			}
			return "+" + words.Rate(of(*f))
		}
		return rate(v.Now) + "\t" + rate(v.Hour)
	}
	hour := "LAST HOUR"
	if v.Hour != nil && v.Hour.span != time.Hour {
		hour = "LAST " + words.Short(v.Hour.span)
	}
	fmt.Fprintf(w, "%s UTC\t\tNOW\t%s\n", terminal.Instant(v.At), hour)
	fmt.Fprintf(w, "PENDING\t%s\t%s\n", pending, rates(func(f topFlow) float64 { return f.Emitted }))
	fmt.Fprintf(w, "HELD\t%s\t\t\n", held)
	fmt.Fprintf(w, "IN REDIS\t%s\t%s\n", cli.Counted(v.InRedis), rates(func(f topFlow) float64 { return f.Enqueued }))
	fmt.Fprintf(w, "CONFIRMED IN 24 H\t%s\t%s\n", confirmed, rates(func(f topFlow) float64 { return f.Confirmed }))
	fmt.Fprintf(w, "DEAD\t%s\t%s\n", dead, rates(func(f topFlow) float64 { return f.Died }))
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
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", terminal.OneLine(r.Host, name), r.PID, terminal.OneLine(r.Version, version), state, words.Ago(v.At, r.SeenAt))
	}
	if v.Relays == nil {
		fmt.Fprintln(w, cli.Unknown)
	}
	fmt.Fprintln(w, "\nWORKER\tPID\tBUSY\tOF")
	for _, k := range v.Workers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", terminal.OneLine(k.Host, name), k.PID, k.Busy, k.Concurrency)
	}
	if v.Workers == nil {
		fmt.Fprintln(w, cli.Unknown)
	}
	fmt.Fprintln(w, "\nQUEUE\tPENDING\tACTIVE\tLATER\tRETRY\tARCHIVED")
	for _, q := range v.Queues {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", terminal.OneLine(queueName(q.Name), name+2), words.Count(q.Pending), words.Count(q.Active), words.Count(q.Scheduled), words.Count(q.Retry), words.Count(q.Archived))
	}
	if v.Queues == nil {
		fmt.Fprintln(w, cli.Unknown)
	}
}

// queueName shortens the name of a subscription's queue. Its beginning is the same for all subscriptions, and the column is narrow.
func queueName(queue string) string {
	if subscription, ok := setup.SubscriptionOfQueue(queue); ok {
		return "sub:" + subscription
	}
	return queue
}
