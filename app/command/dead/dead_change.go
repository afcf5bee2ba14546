package dead

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/domain/words"
	"outboxd/repository/deadletters"
)

// ChangeDocument is the result of dead replay, dead discard and redrive.
type ChangeDocument struct {
	Action   string     `json:"action"`
	ActionID *domain.ID `json:"action_id,omitempty"` // in outbox_actions; none: nothing was done
	Matched  int64      `json:"matched"`
	Changed  int64      `json:"changed"`
	DryRun   bool       `json:"dry_run"`
	// PausedQueues has the paused queues in which tasks of a replay wait. It is missing if Redis was not asked, or did
	// not answer.
	PausedQueues []cli.PausedQueue `json:"paused_queues,omitzero"`
	Canary       *canaryDocument   `json:"canary,omitempty"`
	Refused      []refusedLetter   `json:"refused,omitempty"` // by the outbox; they stay dead letters
}

type refusedLetter struct {
	ID    domain.ID `json:"id"`
	Error string    `json:"error"`
}

type canaryDocument struct {
	Replayed  int `json:"replayed"`
	Confirmed int `json:"confirmed"`
	Dead      int `json:"dead"`
	Open      int `json:"open"` // undecided when the time ran out
}

// deadChange is one replay or discard.
type deadChange struct {
	letters domain.DeadLetters
	filter  domain.DeadFilter
	action  *domain.Action
	count   domain.DeadCount
	result  ChangeDocument
}

// run makes the change if dead letters match and the person agreed.
func (d *deadChange) run(acting *cli.ActionFlags, consent string, change func() error) error {
	if d.count.Matched == 0 {
		return nil
	}
	if err := acting.Consent(consent); err != nil {
		return err
	}
	return change()
}

// prepareChange counts the chosen dead letters. Events that die later are not
// chosen.
func prepareChange(cmd *cobra.Command, args []string, o *cli.Opened, flags *deadFlags, acting *cli.ActionFlags, name string) (*deadChange, error) {
	filter, said, err := flags.read(cmd, args)
	if err != nil {
		return nil, err
	}
	if !flags.all && !filter.Narrows() {
		return nil, config.Mistake{Err: fmt.Errorf("say which dead letters: IDs, --all, or a filter such as --type, --error or --not-error")}
	}
	letters := deadletters.New(o.DB)
	count, err := letters.Count(cmd.Context(), filter, 0, 0)
	if err != nil {
		return nil, err
	}
	if count.Matched == 0 && len(filter.IDs) > 0 {
		return nil, missing(filter.IDs, 0)
	}
	return &deadChange{
		letters: letters, filter: filter.At(count.At), action: acting.Action(said), count: count,
		result: ChangeDocument{Action: name, Matched: count.Matched, DryRun: !acting.Yes},
	}, nil
}

// finish prints the result.
func (d *deadChange) finish(w io.Writer, out *terminal.Output, past string) error {
	if !d.action.ID.IsZero() {
		d.result.ActionID = &d.action.ID
	}
	return out.Write(w, d.result, func(w io.Writer) {
		r := d.result
		switch {
		case r.Matched == 0:
			fmt.Fprintln(w, "No dead letter matches; nothing to do.")
		case r.DryRun:
			fmt.Fprintf(w, "%s %s%s.\n", words.Many(r.Matched, "dead letter"), words.Plural(r.Matched, "matches", "match"), byType(d.count))
		default:
			if r.Canary != nil {
				fmt.Fprintf(w, "Canary: %s replayed, %s confirmed, %s dead again, %s undecided.\n", words.Count(r.Canary.Replayed), words.Count(r.Canary.Confirmed), words.Count(r.Canary.Dead), words.Count(r.Canary.Open))
			}
			fmt.Fprintf(w, "%s %s of %s.\n", past, words.Count(r.Changed), words.Many(r.Matched, "dead letter"))
			if r.Action == "replay" && r.Changed > 0 {
				cli.SayEffect(w, onlyType(d.count))
			}
		}
	})
}

// onlyType returns the type that all counted dead letters have; "" if there are several.
func onlyType(count domain.DeadCount) string {
	if count.Types != 1 {
		return ""
	}
	return count.Largest[0].Type
}

// byType says how many dead letters the most frequent types have; "" for a single type.
func byType(count domain.DeadCount) string {
	if count.Types < 2 {
		return ""
	}
	var shares []string
	for _, t := range count.Largest {
		shares = append(shares, words.Count(t.Count)+" of "+terminal.OneLine(t.Type, 40))
	}
	if others := count.Types - len(count.Largest); others > 0 {
		shares = append(shares, "the rest of "+words.Many(others, "other type"))
	}
	return ": " + strings.Join(shares, ", ")
}

func newDeadDiscardCommand(c cli.Commands) *cobra.Command {
	var flags deadFlags
	var acting cli.ActionFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "discard [ID...]",
		Short: "Discard dead letters for good",
		Long: `Discard dead letters for good. Their payload is deleted. The account keeps their number, and the
journal keeps their errors. If a dead letter held its ordering key, the next event of the key goes on.`,
		Example: `  outboxd dead discard --type report:build --until 720h --yes --reason "reports of last month"`,
	}
	flags.add(cmd)
	acting.Add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().BoolVar(&flags.all, "all", false, "all dead letters; not together with IDs or a filter")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		change, err := prepareChange(cmd, args, o, &flags, &acting, "discard")
		if err != nil {
			return err
		}
		err = change.run(&acting, "discard them", func() error {
			return replay.DiscardAll(cmd.Context(), change.letters, change.action, change.filter, change.tell)
		})
		return cmp.Or(change.finish(cmd.OutOrStdout(), &out, "Discarded"), err, missing(change.filter.IDs, int(change.result.Matched)))
	})
	return cmd
}

func newDeadReplayCommand(c cli.Commands) *cobra.Command {
	var flags deadFlags
	var acting cli.ActionFlags
	var pace cli.PaceFlags
	var out terminal.Output
	cmd := &cobra.Command{
		Use:   "replay [ID...]",
		Short: "Send dead letters again",
		Long: `Send dead letters again. Each gets a new task ID, so that no old task in Redis can swallow it. If an
event took effect after all and was confirmed, the inbox stops the repeat. An effect outside the
database that was not confirmed, such as a mail, may happen again, with the same ID. A deadline that
has passed is dropped, and so is unique_seconds. If the outbox refuses an event, it stays a dead letter. The command replays the
others, names those that were refused, and then fails.

With --canary N it first replays N, and waits for their outcome: one of each type and error, then
another one of each, and so on, those that died first. It goes on only if all of them are confirmed.

If one of their queues is paused, the command says so first: tasks wait there.`,
		Example: `  outboxd dead replay 01980000-0000-7000-8000-000000000000 --yes
  outboxd dead replay --type invoice:send --not-field booking.channel=loadtest --canary 5 --yes
  outboxd dead replay --error "connection refused" --rate 50 --canary 5 --yes --reason "mail server is back"`,
	}
	flags.add(cmd)
	acting.Add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().BoolVar(&flags.all, "all", false, "all dead letters; not together with IDs or a filter")
	pace.Add(cmd, "replay", "dead letters")
	cmd.RunE = c.WithServersIfNamed(&out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		if err := pace.Check(); err != nil {
			return err
		}
		change, err := prepareChange(cmd, args, o, &flags, &acting, "replay")
		if err != nil {
			return err
		}
		if change.count.Matched > 0 {
			change.result.PausedQueues = cli.PausedQueues(cmd, o, change.count.Queues)
		}
		letters := replay.Replay{
			Letters: change.letters, Action: change.action, Filter: change.filter, Pace: pace.Pace, Unconfirmed: o.Config.Relay.Unconfirmed,
		}
		err = change.run(&acting, "replay them", func() error { return letters.Run(cmd.Context(), change.tell) })
		return cmp.Or(change.finish(cmd.OutOrStdout(), &out, "Replayed"), err, missing(change.filter.IDs, int(change.result.Matched)))
	})
	return cmd
}

func (d *deadChange) tell(p replay.Progress) {
	d.result.Changed = p.Changed
	// A dead letter that died while the others were counted may have been changed, but not counted.
	d.result.Matched = max(d.result.Matched, p.Changed)
	for _, r := range p.Refused[len(d.result.Refused):] {
		d.result.Refused = append(d.result.Refused, refusedLetter{r.ID, r.Cause.Error()})
	}
	if c := p.Canary; c != nil {
		d.result.Canary = &canaryDocument{Replayed: c.Sent, Confirmed: c.Confirmed, Dead: c.Dead, Open: c.Open}
	}
}
