// Package setups has the commands on what people set up in the database: subscriptions and schedules.
package setups

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/repository/subscriptions"
)

// NewSubscriptions returns the command subscriptions.
func NewSubscriptions(c cli.Commands) *cobra.Command {
	k := kind{
		noun: "subscription", example: "crm --yes --reason 'the receiver moves'",
		open: func(o *cli.Opened) store { return subscriptions.New(o.DB) },
		find: func(ctx context.Context, o *cli.Opened, name string) error {
			_, err := subscriptions.New(o.DB).Find(ctx, name)
			return err
		},
	}
	return k.group(c, "Say which events go to which receivers over HTTP",
		[]*cobra.Command{
			newSubscriptionsApplyCommand(c), newSubscriptionsListCommand(c), newSubscriptionsShowCommand(c),
			newSubscriptionsReplayCommand(c), newSubscriptionsTestCommand(c),
		},
		change{"pause", "paused", "Stop the attempts of a subscription; its deliveries wait", "", store.Pause},
		change{"resume", "resumed", "Go on with the attempts of a subscription", "", store.Resume},
		change{"remove", "removed", "End a subscription: no further deliveries are made", aboutRemove, store.Remove})
}

const aboutRemove = `End a subscription: no further deliveries are made. Deliveries that are already made wait, and are not attempted,
until a subscription of that name is applied again. outboxd events cancel --queue=subscription:NAME takes back the
deliveries that were not handed to Redis yet.`

// SubscriptionDocument is a subscription in JSON and YAML.
type SubscriptionDocument struct {
	Name           string                    `json:"name"`
	State          string                    `json:"state"` // active, paused or removed
	Types          []string                  `json:"types"`
	Headers        map[string]string         `json:"headers,omitempty"`
	URL            string                    `json:"url"`
	Secret         []string                  `json:"secret,omitempty"` // references to secrets, not the secrets themselves
	Format         string                    `json:"format"`
	Timeout        string                    `json:"timeout"`
	Concurrency    int                       `json:"concurrency"`
	Rate           float64                   `json:"rate"` // a second; 0: no limit
	Attempts       int                       `json:"attempts"`
	RetryMax       string                    `json:"retry_max"`
	Ordering       string                    `json:"ordering"`
	InsteadOfQueue bool                      `json:"instead_of_queue"`
	Paused         *setup.Pause              `json:"paused,omitempty"`
	Down           *setup.ReceiverDown       `json:"down,omitempty"`   // the workers' report about the receiver
	Replay         *setup.SubscriptionReplay `json:"replay,omitempty"` // the last one
	CreatedAt      time.Time                 `json:"created_at"`
	ChangedAt      time.Time                 `json:"changed_at"`
	RemovedAt      *time.Time                `json:"removed_at,omitempty"`

	timeout, retryMax time.Duration // for people
}

func newSubscriptionDocument(s *setup.Subscription) SubscriptionDocument {
	d := SubscriptionDocument{
		Name: s.Name, State: "active", Types: s.Types, Headers: s.Headers, URL: s.URL, Secret: s.Secrets, Format: s.Format, Timeout: s.Timeout.String(),
		Concurrency: s.Concurrency, Rate: s.Rate, Attempts: s.Attempts, RetryMax: s.RetryMax.String(), Ordering: s.Ordering, InsteadOfQueue: s.InsteadOfQueue,
		Paused: s.Paused, Down: s.Down, CreatedAt: s.CreatedAt.UTC(), ChangedAt: s.ChangedAt.UTC(),
		timeout: s.Timeout, retryMax: s.RetryMax,
	}
	if s.Paused != nil {
		d.State = "paused"
	}
	if !s.RemovedAt.IsZero() {
		d.State, d.RemovedAt = "removed", new(s.RemovedAt.UTC())
	}
	return d
}

func newSubscriptionsApplyCommand(c cli.Commands) *cobra.Command {
	var flags applyFlags
	var replaySince string
	cmd := flags.command(c, "subscriptions", `Add the subscriptions of a YAML file that do not exist, and change those that differ. If one is wrong,
nothing is changed. Subscriptions that the file does not name stay as they are. A paused subscription
stays paused. A subscription applies to events that the relay claims from now on. Without --yes the
file is only checked.

With --replay-since the subscriptions also get events that were relayed before and are still kept.
outboxd subscriptions replay does the same later.`,
		func(cmd *cobra.Command, o *cli.Opened) error {
			list, err := subscriptionsIn(cmd, flags.file)
			if err != nil {
				return err
			}
			since, err := replayMoment("--replay-since", replaySince)
			if err != nil {
				return err
			}
			return applySubscriptions(cmd, subscriptions.New(o.DB), &flags, list, since)
		})
	cmd.Example = `  outboxd subscriptions apply -f subscriptions.yaml --yes
  outboxd subscriptions apply -f subscriptions.yaml --replay-since 48h --yes
  outboxd subscriptions apply -f - --yes < subscriptions.yaml`
	cmd.Flags().StringVar(&replaySince, "replay-since", "", "also send what was emitted within this time (48h), or since this moment (RFC 3339), and is still kept")
	return cmd
}

// applySubscriptions applies the list and, if a time is given, replays the events from then on. Without --yes it
// returns an error, and only counts the events to replay.
func applySubscriptions(cmd *cobra.Command, store *subscriptions.Store, flags *applyFlags, list []setup.Subscription, since time.Time) error {
	if consent := flags.consent(len(list), "subscriptions"); consent != nil {
		if since.IsZero() {
			return consent
		}
		_, err := countReplays(cmd, store, &flags.out, list, since, "nothing to replay")
		return cmp.Or(err, consent)
	}
	action := flags.action()
	var changes []setup.Applied
	var err error
	if since.IsZero() {
		changes, err = store.Apply(cmd.Context(), action, list)
	} else {
		changes, err = store.ApplyAndReplay(cmd.Context(), action, list, since)
	}
	if err != nil {
		return err
	}
	applied := make([]AppliedDocument, len(list))
	for i := range list {
		applied[i] = AppliedDocument{Name: list[i].Name, Change: changes[i]}
		if since.IsZero() {
			continue
		}
		if applied[i].Replay, err = followReplay(cmd, store, list[i].Name); err != nil {
			return err
		}
	}
	return flags.write(cmd, applied)
}

func subscriptionsIn(cmd *cobra.Command, file string) ([]setup.Subscription, error) {
	return readNamed(cmd, file, "subscriptions.yaml", readSubscriptions)
}

// SubscriptionsDocument is the result of subscriptions list.
type SubscriptionsDocument struct {
	Subscriptions []SubscriptionDocument `json:"subscriptions"`
}

func newSubscriptionsListCommand(c cli.Commands) *cobra.Command {
	list := func(ctx context.Context, o *cli.Opened) ([]setup.Subscription, error) {
		return subscriptions.New(o.DB).List(ctx)
	}
	whole := func(documents []SubscriptionDocument) any { return SubscriptionsDocument{documents} }
	return listCommand(c, "subscriptions", list, newSubscriptionDocument, whole, subscriptionsTable)
}

func subscriptionsTable(w io.Writer, list []SubscriptionDocument) {
	fmt.Fprintln(w, "NAME\tSTATE\tTYPES\tURL\tORDERING\tINSTEAD OF QUEUE")
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%t\n", d.Name, d.inWords(), terminal.OneLine(strings.Join(d.Types, " "), 40), terminal.OneLine(d.URL, 60), d.Ordering, d.InsteadOfQueue)
	}
}

// inWords describes the state of a subscription. For an active subscription it also
// says whether the receiver is down.
func (d *SubscriptionDocument) inWords() string {
	if d.Down != nil && d.State == "active" {
		return d.State + ", receiver down"
	}
	return d.State
}

func newSubscriptionsShowCommand(c cli.Commands) *cobra.Command {
	return showCommand(c, "subscription", "crm", func(ctx context.Context, o *cli.Opened, name string) (d SubscriptionDocument, err error) {
		found, err := subscriptions.New(o.DB).Find(ctx, name)
		if err != nil {
			return d, err
		}
		d = newSubscriptionDocument(found)
		d.Replay, err = subscriptions.New(o.DB).Replay(ctx, found.Name)
		return d, err
	}, subscriptionTable)
}

func subscriptionTable(w io.Writer, d *SubscriptionDocument) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, terminal.OneLine(value, 0))
		}
	}
	row("Name", d.Name)
	row("State", d.State)
	if d.Down != nil {
		row("Down", fmt.Sprintf("since %s: %s", terminal.Instant(d.Down.Since), d.Down.Reason))
	}
	if d.Paused != nil {
		row("Paused", fmt.Sprintf("%s by %s: %s", terminal.Instant(d.Paused.Since), d.Paused.By, d.Paused.Reason))
	}
	row("Types", strings.Join(d.Types, " "))
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		row("Header", name+": "+d.Headers[name])
	}
	row("URL", d.URL)
	row("Secret", strings.Join(d.Secret, " "))
	row("Format", d.Format)
	row("Timeout", words.Duration(d.timeout))
	row("Concurrency", fmt.Sprint(d.Concurrency))
	if d.Rate > 0 {
		row("Rate", fmt.Sprintf("%g/s", d.Rate))
	}
	row("Retry", fmt.Sprintf("%s, at most %s apart", words.Many(d.Attempts, "attempt"), words.Duration(d.retryMax)))
	row("Ordering", d.Ordering)
	row("Instead of queue", fmt.Sprint(d.InsteadOfQueue))
	if r := d.Replay; r != nil {
		state := "under way"
		if r.Ended() {
			state = "ended " + terminal.Instant(r.EndedAt)
		}
		row("Replay", fmt.Sprintf("since %s: %s; %s", terminal.Instant(r.Since), replaySaid(r), state))
	}
}
