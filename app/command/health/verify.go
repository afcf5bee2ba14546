package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/audit"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/domain/words"
	"outboxd/jobs/lookup"
	"outboxd/repository/search"
)

const aboutVerify = `Account for every event that was ever emitted, as of one moment:

  emitted = pending + held + in flight + confirmed + dead + suppressed
            + cancelled + expired + unrecorded + discarded + repeated

by UTC day of creation and by type. The outbox's trigger counts what is emitted,
in a table of its own. The rest is counted where the events are. Repeated means
that a producer wrote an event again, under the same ID, and the two rows became
one event: it does not mean that an effect happened twice. Then look for
single events that break a promise:

  in more than one place       an event is in two tables
  held without a reason        its ordering key waits for nothing
  neither in Redis nor confirmed
                               handed to Redis, and Redis does not have the task
                               in any list or set where a worker would find it
  done and not confirmed       the task is completed, and kept

Tasks without an event are listed apart: PostgreSQL went back to a time before
their events were written. They had no effect, so they are no violation. Only
their producers can repeat what was lost.

Events of the types in relay.unconfirmed are not looked for in Redis. The command
reads the whole history and changes nothing. It exits with 1 if there is a
violation, also during a loss that the relay has not healed yet.`

// Verification is the result of verify.
type Verification struct {
	Account    []accountLine `json:"account"`
	Violations []violation   `json:"violations"`
	More       bool          `json:"more_violations"` // the list was cut

	WithoutEvent     []taskWithoutEvent `json:"tasks_without_event"`
	MoreWithoutEvent bool               `json:"more_tasks_without_event"`
}

type taskWithoutEvent struct {
	ID string    `json:"id"` // of the event that does not exist
	At time.Time `json:"at"` // when a worker met the task last
}

type accountLine struct {
	Day        string `json:"day"`
	Type       string `json:"type"`
	Emitted    int64  `json:"emitted"`
	Deliveries int64  `json:"deliveries"`
	Pending    int64  `json:"pending"`
	Held       int64  `json:"held"`
	InFlight   int64  `json:"in_flight"`
	Confirmed  int64  `json:"confirmed"`
	Dead       int64  `json:"dead"`
	Suppressed int64  `json:"suppressed"`
	Cancelled  int64  `json:"cancelled"`
	Expired    int64  `json:"expired"`
	Unrecorded int64  `json:"unrecorded"`
	Discarded  int64  `json:"discarded"`
	Repeated   int64  `json:"repeated"`
	Difference int64  `json:"difference"`
}

type violation struct {
	ID     string `json:"id,omitempty"`
	Broken string `json:"broken"`
	Detail string `json:"detail"`
}

var errViolated = errors.New("there are violations")

// NewVerify returns the command verify.
func NewVerify(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var limit int
	verify := &cobra.Command{
		Use:     "verify",
		Short:   "Account for every event, and list those that break a promise",
		Long:    aboutVerify,
		Example: "  outboxd verify\n  outboxd verify -o json | jq .violations",
		Args:    cli.NoArguments,
	}
	verify.RunE = c.WithServers(config.RoleRelay, &out, func(cmd *cobra.Command, _ []string, o *cli.Opened) error {
		if limit < 1 {
			return config.Mistake{Err: errors.New("--limit has to be at least 1")}
		}
		result, err := verifyEvents(cmd.Context(), o, limit)
		if err != nil {
			return err
		}
		if err := out.Write(cmd.OutOrStdout(), result, result.table); err != nil {
			return err
		}
		if len(result.Violations) > 0 {
			return errViolated
		}
		return nil
	})
	out.AddFlag(verify)
	verify.Flags().IntVar(&limit, "limit", 100, "most violations to list, and most tasks without an event")
	return verify
}

func verifyEvents(ctx context.Context, o *cli.Opened, limit int) (*Verification, error) {
	redis, err := o.Servers.OpenRedis(cli.RedisConnections)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	finder := lookup.New(redis)
	auditor := search.NewAuditor(o.DB)
	lines, err := auditor.Account(ctx)
	if err != nil {
		return nil, err
	}
	result := &Verification{Account: []accountLine{}, Violations: []violation{}, WithoutEvent: []taskWithoutEvent{}}
	for _, l := range lines {
		result.add(&l)
	}
	broken, err := auditor.Violations(ctx, lines, limit+1)
	if err != nil {
		return nil, err
	}
	lost, err := lostEvents(ctx, auditor, finder, o.Config.Relay.Unconfirmed, limit+1)
	if err != nil {
		return nil, err
	}
	for _, v := range append(broken, lost...) {
		result.Violations = append(result.Violations, violation{v.ID.String(), v.Broken, v.Detail})
	}
	if result.More = len(result.Violations) > limit; result.More {
		result.Violations = result.Violations[:limit]
	}
	orphans, err := auditor.WithoutEvent(ctx, limit+1)
	if err != nil {
		return nil, err
	}
	for i, task := range orphans {
		if result.MoreWithoutEvent = i == limit; result.MoreWithoutEvent {
			break
		}
		result.WithoutEvent = append(result.WithoutEvent, taskWithoutEvent{task.EventID.String(), task.At})
	}
	return result, nil
}

// add adds a line of the account to the result. If the line has more or fewer emitted events than
// events found, it also adds a violation.
func (v *Verification) add(l *audit.AccountLine) {
	line := accountLine{
		l.Day.Format(time.DateOnly), l.Type, l.Emitted, l.Deliveries, l.Pending, l.Held, l.InFlight, l.Confirmed, l.Dead, l.Suppressed, l.Cancelled,
		l.Expired, l.Unrecorded, l.Discarded, l.Repeated, l.Difference(),
	}
	v.Account = append(v.Account, line)
	switch {
	case line.Difference > 0:
		v.Violations = append(v.Violations, violation{
			Broken: "the account does not add up",
			Detail: fmt.Sprintf("%s of %s, %s, %s emitted and %s nowhere", words.Many(line.Difference, "event"), line.Type, line.Day, words.Plural(line.Difference, "was", "were"), words.Plural(line.Difference, "is", "are")),
		})
	case line.Difference < 0:
		v.Violations = append(v.Violations, violation{
			Broken: "the account does not add up",
			Detail: fmt.Sprintf("%s of %s, %s, %s there and never emitted, or written without triggers", words.Many(-line.Difference, "event"), line.Type, line.Day, words.Plural(-line.Difference, "is", "are")),
		})
	}
}

// verifyPage is how many events verify looks up in Redis at a time.
const verifyPage = 1000

// lostEvents returns events that were handed to Redis and are not confirmed, and whose task is
// completed or not in Redis. A task may leave Redis between the two queries, because its event was
// just confirmed. So lostEvents queries PostgreSQL again for these events, and leaves out those
// that are confirmed by now.
func lostEvents(ctx context.Context, auditor audit.Auditor, finder queued.TaskFinder, except []string, limit int) ([]audit.Violation, error) {
	var lost []audit.Violation
	for after := (domain.ID{}); len(lost) < limit; {
		page, err := auditor.Unconfirmed(ctx, after, verifyPage, except)
		if err != nil || len(page) == 0 {
			return lost, err
		}
		after = page[len(page)-1].Event.ID
		missing, err := missingTasks(ctx, finder, page)
		if err != nil {
			return lost, err
		}
		ids := make([]domain.ID, len(missing))
		for i := range missing {
			ids[i] = missing[i].Event.ID
		}
		confirmed, err := auditor.Confirmed(ctx, ids)
		if err != nil {
			return lost, err
		}
		for _, m := range missing {
			if !confirmed[m.Event.ID] {
				broken := "neither in Redis nor confirmed"
				if m.Task == queued.TaskCompleted {
					broken = "done and not confirmed"
				}
				lost = append(lost, audit.Violation{
					ID: m.Event.ID, Broken: broken,
					Detail: fmt.Sprintf("%s, queue %s, sent %s; the task %s", m.Event.Type, m.Event.Queue, terminal.Instant(m.SentAt), m.Task),
				})
			}
		}
	}
	return lost, nil
}

func missingTasks(ctx context.Context, finder queued.TaskFinder, sent []domain.SentEvent) ([]lost.MissingEvent, error) {
	events := make([]domain.Event, len(sent))
	for i := range sent {
		events[i] = sent[i].Event
	}
	found, err := finder.Look(ctx, events)
	if err != nil {
		return nil, err
	}
	var missing []lost.MissingEvent
	for i := range sent {
		if found[i].Lost() || found[i] == queued.TaskCompleted {
			missing = append(missing, lost.MissingEvent{SentEvent: sent[i], Task: found[i]})
		}
	}
	return missing, nil
}

func (v *Verification) table(w io.Writer) {
	fmt.Fprintln(w, "DAY\tTYPE\tEMITTED\tDELIVERIES\tPENDING\tHELD\tIN FLIGHT\tCONFIRMED\tDEAD\tSUPPRESSED\tCANCELLED\tEXPIRED\tUNRECORDED\tDISCARDED\tREPEATED\tDIFFERENCE")
	for _, l := range v.Account {
		fmt.Fprintf(w, "%s\t%s", l.Day, terminal.OneLine(l.Type, 40))
		for _, n := range []int64{l.Emitted, l.Deliveries, l.Pending, l.Held, l.InFlight, l.Confirmed, l.Dead, l.Suppressed, l.Cancelled, l.Expired, l.Unrecorded, l.Discarded, l.Repeated, l.Difference} {
			fmt.Fprint(w, "\t", words.Count(n))
		}
		fmt.Fprintln(w)
	}
	v.violations(w)
	if len(v.WithoutEvent) == 0 {
		return
	}
	fmt.Fprintln(w, "\nTASK WITHOUT EVENT\tMET")
	for _, task := range v.WithoutEvent {
		fmt.Fprintf(w, "%s\t%s\n", task.ID, terminal.Instant(task.At))
	}
	if v.MoreWithoutEvent {
		fmt.Fprintln(w, "There are more: see --limit.")
	}
	fmt.Fprintln(w, "PostgreSQL went back to before these events were written. Their tasks had no effect.")
}

func (v *Verification) violations(w io.Writer) {
	if len(v.Violations) == 0 {
		fmt.Fprintln(w, "\nEvery event is accounted for.")
		return
	}
	fmt.Fprintln(w, "\nEVENT\tBROKEN\tDETAIL")
	for _, b := range v.Violations {
		fmt.Fprintf(w, "%s\t%s\t%s\n", cli.OrDash(b.ID), b.Broken, terminal.OneLine(b.Detail, 0))
	}
	if v.More {
		fmt.Fprintln(w, "There are more: see --limit.")
	}
}
