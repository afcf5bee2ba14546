package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/replay"
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/jobs/retries"
	"outboxd/repository/deadletters"
	"outboxd/repository/search"
)

// openLives returns the search for events, and a function that closes its
// connections to Redis. The search finds failing events only if o has the address of a
// Redis. reader reads events from PostgreSQL.
func openLives(o *cli.Opened, reader lives.Reader) (lives.Reader, func(), error) {
	lives := failing.Lives{Reader: reader, NoHistory: o.Config.Relay.History <= 0, Patience: lives.CommandPatience}
	if o.Servers.RedisURL == "" {
		return lives, func() {}, nil
	}
	broker.BridgeLog(o.Log)
	redis, err := o.Servers.OpenRedis(cli.RedisConnections)
	if err != nil {
		return nil, nil, err
	}
	lives.Tasks = retries.New(redis)
	return lives, func() { _ = redis.Close() }, nil
}

// failingFlags choose failing events.
type failingFlags struct {
	choiceFlags
	all bool
}

func (f *failingFlags) add(cmd *cobra.Command) {
	f.choiceFlags.add(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all failing events; not together with IDs or a filter")
}

// read returns the filter, and the flags that were set, for the log of actions. The parameter history says whether
// the database keeps events that are in flight.
func (f *failingFlags) read(cmd *cobra.Command, args []string, history bool) (filter failing.Filter, said map[string]string, err error) {
	if filter.IDs, err = cli.EventIDs(args); err != nil {
		return filter, nil, err
	}
	if err := f.choiceFlags.read(); err != nil {
		return filter, nil, err
	}
	filter.Filter = f.filter
	said = f.said(cmd, "all", "rate", "canary", "canary-timeout")
	if len(args) > 0 {
		said["ids"] = strings.Join(args, " ")
	}
	switch {
	case cmd.Flags().Changed("all") && (!f.all || filter.Narrows()):
		return filter, nil, config.Mistake{Err: errors.New("--all means every failing event; leave it out to choose some of them")}
	case !f.all && !filter.Narrows():
		return filter, nil, config.Mistake{Err: errors.New("say which failing events: IDs, --all, or a filter such as --type, --error or --field")}
	case !history && filter.AsksDatabase():
		return filter, nil, config.Mistake{Err: errors.New("with --relay-history=0 the database does not have the events: choose by --type, --queue and --error")}
	}
	return filter, said, nil
}

// FailingChangeDocument is the result of events retry and events give-up.
type FailingChangeDocument struct {
	Action   string     `json:"action"`
	ActionID *domain.ID `json:"action_id,omitempty"` // in outbox_actions; none: nothing was done
	// Matched counts the events that were failing when the change began. An event is no longer failing when its next
	// attempt has come by itself.
	Matched int64 `json:"matched"`
	Changed int64 `json:"changed"` // with those of the canary
	// TriedMeanwhile counts the events that a retry left out, because they no longer waited for their next attempt.
	TriedMeanwhile int64 `json:"tried_meanwhile"`
	// Left counts the events that a retry did not come to, for example because the canary failed. They keep their
	// planned attempts.
	Left   int64 `json:"left"`
	DryRun bool  `json:"dry_run"`
	More   bool  `json:"more"` // there are more failing tasks than one command looks at
	// PausedQueues has the paused queues in which tasks of a retry wait. It is missing if Redis did not say which
	// queues are paused.
	PausedQueues []cli.PausedQueue `json:"paused_queues,omitzero"`
	// Canary is what became of the events that were retried first.
	Canary *retryCanaryDocument `json:"canary,omitempty"`
}

type retryCanaryDocument struct {
	Retried   int `json:"retried"`
	Confirmed int `json:"confirmed"`
	Failed    int `json:"failed"` // again
	Open      int `json:"open"`   // undecided when the time ran out
}

// failingChange describes one of the commands events retry and give-up.
type failingChange struct {
	verb, past, consent string
	again               bool // whether the events are tried again
	do                  func(ctx context.Context, c *failing.Change, action *domain.Action, filter failing.Filter, tell func(replay.Progress)) (failing.Result, error)
}

func newEventsRetryCommand(c cli.Commands) *cobra.Command {
	var pace cli.PaceFlags
	cmd := newFailingCommand(c, failingChange{"retry", "Retried", "retry them now", true, func(ctx context.Context, c *failing.Change, action *domain.Action, filter failing.Filter, tell func(replay.Progress)) (failing.Result, error) {
		return c.Retry(ctx, action, filter, pace.Pace, tell)
	}})
	pace.Add(cmd, "retry", "failing events")
	cmd.PreRunE = func(*cobra.Command, []string) error { return pace.Check() }
	cmd.Short = "Make the next attempt of failing events now"
	cmd.Long = `Make the next attempt of failing events now: their task failed, and waits to be tried again. No attempt is charged for it.
Mend the cause first: an attempt that fails counts as any other.

With --canary N it first retries N and waits for their outcome: one of each type and error, then
another one of each, and so on. It goes on only if all of them are confirmed.

If one of their queues is paused, the command says so first: tasks wait there.`
	cmd.Example = `  outboxd events retry 01980000-0000-7000-8000-000000000000 --yes
  outboxd events retry --type email:send_notification --error "connection refused" --rate 50 --canary 5 --yes --reason "mail server is back"`
	return cmd
}

func newEventsGiveUpCommand(c cli.Commands) *cobra.Command {
	cmd := newFailingCommand(c, failingChange{"give-up", "Gave up", "give them up", false, func(ctx context.Context, c *failing.Change, action *domain.Action, filter failing.Filter, _ func(replay.Progress)) (failing.Result, error) {
		return c.GiveUp(ctx, action, filter)
	}})
	cmd.Short = "Make dead letters of failing events, without further attempts"
	cmd.Long = `Make dead letters of failing events: their task failed, and waits to be tried again. No further attempt is made.
outboxd dead replay sends them again, outboxd dead discard removes them for good.`
	cmd.Example = `  outboxd events give-up 01980000-0000-7000-8000-000000000000 --yes --reason "the address does not exist"
  outboxd events give-up --type report:build --field customer=test-* --yes`
	return cmd
}

func newFailingCommand(c cli.Commands, change failingChange) *cobra.Command {
	var flags failingFlags
	var acting cli.ActionFlags
	var out terminal.Output
	cmd := &cobra.Command{Use: change.verb + " [ID...]"}
	flags.add(cmd)
	acting.Add(cmd)
	out.AddFlag(cmd)
	cmd.RunE = c.WithServers(config.RoleRelay, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		filter, said, err := flags.read(cmd, args, o.Config.Relay.History > 0)
		if err != nil {
			return err
		}
		broker.BridgeLog(o.Log)
		redis, err := o.Servers.OpenRedis(cli.RedisConnections)
		if err != nil {
			return err
		}
		defer redis.Close()
		letters := deadletters.New(o.DB)
		changes := &failing.Change{
			Tasks: retries.New(redis), Known: search.NewKnownEvents(o.DB, o.Config.Relay.History).Among, Archived: inspect.NewArchive(redis),
			Failures: deadletters.NewFailedTasks(o.DB, o.Config.Relay.Ordering == config.OrderingBlock), Actions: letters, Outcomes: letters.Outcomes,
			InFlight: search.NewLives(o.DB).InFlight,
		}
		action := acting.Action(said)
		var paused []cli.PausedQueue
		var progress replay.Progress
		result, err := changes.Count(cmd.Context(), filter, 0)
		if err == nil && result.Matched > 0 {
			if change.again {
				paused = cli.PausedQueues(cmd, o, result.Queues)
			}
			err = acting.Consent(change.consent)
		}
		if err == nil && acting.Yes {
			result, err = change.do(cmd.Context(), changes, action, filter, func(p replay.Progress) { progress = p })
		}
		if err != nil && result.Matched == 0 { // whether any matches is not known
			return err
		}
		document := FailingChangeDocument{Action: change.verb, Matched: result.Matched, Changed: result.Changed, TriedMeanwhile: result.Meanwhile, DryRun: !acting.Yes, More: result.More, PausedQueues: paused}
		if change.again && acting.Yes {
			document.Left = result.Matched - result.Changed - result.Meanwhile
		}
		if !action.ID.IsZero() {
			document.ActionID = &action.ID
		}
		if c := progress.Canary; c != nil {
			document.Canary = &retryCanaryDocument{Retried: c.Sent, Confirmed: c.Confirmed, Failed: c.Failed, Open: c.Open}
		}
		if missing := len(filter.IDs) - int(result.Matched); err == nil && missing > 0 {
			err = fmt.Errorf("not failing: %d of the %d events named; outboxd events show ID says where an event is", missing, len(filter.IDs))
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), document, func(w io.Writer) { change.table(w, &document, filter.Type) }), err)
	})
	return cmd
}

// others says how many of the matched events a retry changed first, and what became of those that it did not change.
func (d *FailingChangeDocument) others() (said string) {
	if d.Canary != nil {
		said = ", with the " + words.Count(d.Canary.Retried) + " of the canary"
	}
	if n := d.TriedMeanwhile; n > 0 {
		said += "; " + words.Count(n) + words.Plural(n, " was", " were") + " tried meanwhile"
	}
	if n := d.Left; n > 0 {
		said += "; " + words.Count(n) + words.Plural(n, " keeps its planned attempt", " keep their planned attempts")
	}
	return said
}

// table prints the result of a change of failing events. kind is the filter's type.
func (f failingChange) table(w io.Writer, d *FailingChangeDocument, kind string) {
	switch {
	case d.Matched == 0:
		fmt.Fprintln(w, "No failing event matches; nothing to do.")
	case d.DryRun:
		fmt.Fprintf(w, "%s %s.\n", words.Many(d.Matched, "failing event"), words.Plural(d.Matched, "matches", "match"))
	default:
		if c := d.Canary; c != nil {
			fmt.Fprintf(w, "Canary: %s retried, %s confirmed, %s failed again, %s undecided.\n", words.Count(c.Retried), words.Count(c.Confirmed), words.Count(c.Failed), words.Count(c.Open))
		}
		fmt.Fprintf(w, "%s %s of %s%s.\n", f.past, words.Count(d.Changed), words.Many(d.Matched, "failing event"), d.others())
		if f.again {
			fmt.Fprintln(w, "Events whose next attempt had come by itself before are not counted: workers try them without this command.")
		}
	}
	if d.More {
		fmt.Fprintln(w, "There may be more: run it again.")
	}
	if f.again && d.Changed > 0 {
		cli.SayEffect(w, kind)
	}
}
