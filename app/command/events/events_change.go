package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/lookup"
	"outboxd/repository/recall"
	"outboxd/repository/search"
)

const (
	// changedAtOnce is how many events one transaction changes. While such a
	// transaction runs, a handler that confirms one of its events waits.
	changedAtOnce = 100
	// changedPage is how many matching events one query returns.
	changedPage = 1000
	// tooLateListed is the largest number of events that the result names among those that
	// could not be changed.
	tooLateListed = 100
)

// EventChangeDocument is the result of events cancel, reschedule and erase.
type EventChangeDocument struct {
	Action   string                        `json:"action"`
	ActionID *domain.ID                    `json:"action_id,omitempty"` // in outbox_actions; none: nothing was done
	Matched  int                           `json:"matched"`             // events that were named, or that matched and could be changed when they were counted
	Changed  int                           `json:"changed"`
	DryRun   bool                          `json:"dry_run"`
	Answers  map[domain.ChangeAnswer]int64 `json:"answers"` // how many events by answer
	TooLate  []tooLateDocument             `json:"too_late"`
	More     bool                          `json:"more"`          // there are more failing tasks than one command looks at
	LateMore bool                          `json:"more_too_late"` // the list was cut
}

type tooLateDocument struct {
	ID     domain.ID           `json:"id"`
	Answer domain.ChangeAnswer `json:"answer"`
}

// eventChange describes one of the commands events cancel, reschedule and erase.
type eventChange struct {
	verb, past string
	done       domain.ChangeAnswer
	states     []lives.State // an event that a filter chooses must have one of them
	inRedis    bool          // whether the command also deletes the events' tasks
	change     func(ctx context.Context, changes domain.EventChanges, action *domain.Action, ids []domain.ID) ([]domain.Change, error)
}

func newEventsCancelCommand(c cli.Commands) *cobra.Command {
	cmd := newEventChangeCommand(c, config.RoleAPI, &eventChange{
		verb: "cancel", past: "Cancelled", done: domain.ChangeCancelled,
		states: []lives.State{lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateFailing},
		change: func(ctx context.Context, changes domain.EventChanges, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
			return changes.Cancel(ctx, action, ids)
		},
	})
	cmd.Short = "Take events back that have not taken effect"
	cmd.Long = `Take events back: those that are pending, held for their ordering key's turn, or in flight. An event that is
cancelled never takes effect. Its task in Redis has no effect if a worker takes it, and the relay deletes it.
A delivery or a mail that waits in Redis is cancelled too: it is not attempted any more, but an attempt before may
have reached the receiver. While it is being sent it is running.
What was too late is named, with the reason: confirmed, running, busy, in flight, dead, suppressed or unknown.
The events behind it with its ordering key go on.`
	cmd.Example = `  outboxd events cancel 01980000-0000-7000-8000-000000000000 --yes --reason "the order was withdrawn"
  outboxd events cancel --type email:send_notification --header tenant=acme --since 1h --yes`
	return cmd
}

func newEventsRescheduleCommand(c cli.Commands) *cobra.Command {
	var at string
	var in time.Duration
	var due time.Time
	change := &eventChange{
		verb: "reschedule", past: "Rescheduled", done: domain.ChangeRescheduled,
		states: []lives.State{lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateFailing},
		change: func(ctx context.Context, changes domain.EventChanges, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
			return changes.Reschedule(ctx, action, ids, due)
		},
	}
	cmd := newEventChangeCommand(c, config.RoleAPI, change)
	cmd.Short = "Move events that have not taken effect to another time"
	cmd.Long = `Move events to another time, sooner or later: those that are pending, held for their ordering key's turn, or in
flight and not begun. A task that Redis has of one takes no effect before that time, and the relay deletes it. The
event gets a new task when it is time. Its attempts at the relay stay as they were, those of the task begin anew.
What was not moved is named, with the reason: confirmed, running, busy, in flight, dead, suppressed, unknown or refused.`
	cmd.Example = `  outboxd events reschedule 01980000-0000-7000-8000-000000000000 --in 2h --yes
  outboxd events reschedule --type report:build --state pending --at 2026-12-24T06:00:00Z --yes`
	cmd.Flags().StringVar(&at, "at", "", "the time, such as 2006-01-02T15:04:05Z; without a zone it is UTC")
	cli.DurationVar(cmd.Flags(), &in, "in", 0, "so long from now; 0s is at once")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("at") == cmd.Flags().Changed("in") {
			return config.Mistake{Err: errors.New("say when: --at or --in, one of them")}
		}
		if at == "" {
			due = time.Now().Add(in)
			return nil
		}
		var err error
		if due, err = lives.ParseMoment(at, time.Now()); err != nil {
			return config.Mistake{Err: fmt.Errorf("--at: %w", err)}
		}
		return nil
	}
	return cmd
}

func newEventChangeCommand(c cli.Commands, role config.Role, change *eventChange) *cobra.Command {
	var flags eventFlags
	var acting cli.ActionFlags
	var out terminal.Output
	cmd := &cobra.Command{Use: change.verb + " [ID...]"}
	flags.addFilter(cmd)
	acting.Add(cmd)
	out.AddFlag(cmd)
	open := c.WithServersIfNamed
	if role == config.RoleRelay { // it needs Redis
		open = func(out *terminal.Output, do func(*cobra.Command, []string, *cli.Opened) error) func(*cobra.Command, []string) error {
			return c.WithServers(role, out, do)
		}
	}
	cmd.RunE = open(&out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		ids, err := cli.EventIDs(args)
		if err != nil {
			return err
		}
		filter, _, err := flags.read()
		if err != nil {
			return err
		}
		said := flags.said(cmd, "state", "since", "until")
		run := change.begin(o, &acting, said)
		defer run.close()
		switch {
		case len(ids) > 0 && filter.Narrows():
			return config.Mistake{Err: errors.New("IDs and a filter exclude each other")}
		case len(ids) > 0:
			said["ids"] = strings.Join(args, " ")
			err = run.take(cmd.Context(), ids)
		case !filter.Narrows():
			return config.Mistake{Err: errors.New("say which events: IDs, or a filter such as --type, --state or --since")}
		default:
			err = run.takeMatching(cmd.Context(), filter)
		}
		if err = run.changes.End(cmd.Context(), run.action, err); err == nil && run.result.Matched > 0 {
			err = acting.Consent(change.verb + " them")
		}
		if err != nil && run.result.Matched == 0 { // whether any matches is not known
			return err
		}
		result := run.result
		if err == nil && len(ids) > 0 && result.Changed < len(ids) {
			err = fmt.Errorf("%s of %s could not be %s", words.Count(len(ids)-result.Changed), words.Many(len(ids), "event"), strings.ToLower(change.past))
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), result, func(w io.Writer) { change.table(w, result) }), err, run.rest())
	})
	return cmd
}

// eventChangeRun is one execution of events cancel, reschedule or erase, with its result.
type eventChangeRun struct {
	*eventChange
	o       *cli.Opened
	changes domain.EventChanges
	action  *domain.Action
	result  *EventChangeDocument
	redis   *broker.Redis // opened when it is first needed
}

func (e *eventChange) begin(o *cli.Opened, acting *cli.ActionFlags, said map[string]string) *eventChangeRun {
	r := &eventChangeRun{
		eventChange: e, o: o, action: acting.Action(said),
		result: &EventChangeDocument{Action: e.verb, DryRun: !acting.Yes, Answers: map[domain.ChangeAnswer]int64{}, TooLate: []tooLateDocument{}},
	}
	r.changes = recall.New(o.DB)
	if o.Servers.RedisURL != "" {
		r.changes = recall.New(o.DB).Asking(r)
	}
	return r
}

var _ domain.RunningTasks = (*eventChangeRun)(nil)

// Running implements domain.RunningTasks.
func (r *eventChangeRun) Running(ctx context.Context, events []domain.Event) ([]bool, error) {
	if err := r.openRedis(); err != nil {
		return nil, err
	}
	return lookup.New(r.redis).Running(ctx, events)
}

func (r *eventChangeRun) openRedis() (err error) {
	if r.redis == nil {
		r.redis, err = r.o.Servers.OpenRedis(cli.RedisConnections)
	}
	return err
}

func (r *eventChangeRun) close() {
	if r.redis != nil {
		_ = r.redis.Close()
	}
}

// takeMatching changes the events that the filter chooses and that can be changed,
// page by page. The pages are in the order of the IDs, so no event is changed
// twice, even if its state changes meanwhile.
func (r *eventChangeRun) takeMatching(ctx context.Context, filter lives.Filter) error {
	lives, closed, err := openLives(r.o, search.NewLives(r.o.DB))
	if err != nil {
		return err
	}
	defer closed()
	return r.takeFrom(ctx, lives, filter)
}

func (r *eventChangeRun) takeFrom(ctx context.Context, reader lives.Reader, filter lives.Filter) error {
	for before := (domain.ID{}); ; {
		page, err := reader.Search(ctx, filter, before, changedPage)
		if err == nil {
			err = page.Sure(&filter)
		}
		if err != nil {
			return err
		}
		r.result.More = r.result.More || page.Incomplete
		var ids []domain.ID
		for i := range page.Events {
			if slices.Contains(r.states, page.Events[i].State) {
				ids = append(ids, page.Events[i].ID)
			}
		}
		if err := r.take(ctx, ids); err != nil {
			return err
		}
		if before = page.Next; before.IsZero() {
			return nil
		}
	}
}

// take cancels, reschedules or erases the given events; in a dry run it only counts them.
func (r *eventChangeRun) take(ctx context.Context, ids []domain.ID) error {
	r.result.Matched += len(ids)
	if r.result.DryRun {
		return nil
	}
	for some := range slices.Chunk(ids, changedAtOnce) {
		answers, err := r.change(ctx, r.changes, r.action, some)
		if !r.action.ID.IsZero() {
			r.result.ActionID = &r.action.ID
		}
		for _, answer := range answers {
			r.result.add(answer, r.done)
		}
		if err == nil && r.inRedis {
			err = r.removeTasks(ctx, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *EventChangeDocument) add(c domain.Change, done domain.ChangeAnswer) {
	d.Answers[c.Answer]++
	switch {
	case c.Answer == done:
		d.Changed++
	case len(d.TooLate) < tooLateListed:
		d.TooLate = append(d.TooLate, tooLateDocument{c.ID, c.Answer})
	default:
		d.LateMore = true
	}
}

func (e *eventChange) table(w io.Writer, d *EventChangeDocument) {
	switch {
	case d.Matched == 0:
		fmt.Fprintf(w, "No event that matches can be %s; nothing to do.\n", strings.ToLower(e.past))
	case d.DryRun:
		fmt.Fprintf(w, "%s %s.\n", words.Many(d.Matched, "event"), words.Plural(d.Matched, "matches", "match"))
	default:
		fmt.Fprintf(w, "%s %s of %s.\n", e.past, words.Count(d.Changed), words.Many(d.Matched, "event"))
	}
	for _, late := range d.TooLate {
		fmt.Fprintf(w, "Event %s %s.\n", late.ID, late.Answer.Explain())
	}
	if d.LateMore {
		fmt.Fprintln(w, "There are more.")
	}
	if d.More {
		fmt.Fprintln(w, "There may be more: run it again.")
	}
}

// rest returns an error if an erasure may have left events out. Whoever erases a person's events must not take it for
// done.
func (r *eventChangeRun) rest() error {
	if !r.inRedis || !r.result.More {
		return nil
	}
	return errors.New("a queue has more failing tasks than one command looks at, so not all events may be erased: run it again")
}
