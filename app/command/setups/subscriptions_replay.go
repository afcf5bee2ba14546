package setups

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/repository/subscriptions"
)

func newSubscriptionsReplayCommand(c cli.Commands) *cobra.Command {
	var out terminal.Output
	var flags cli.ActionFlags
	var sinceText string
	cmd := &cobra.Command{
		Use:   "replay NAME",
		Short: "Send a subscription what was relayed before it",
		Long: `Send a subscription the events that were relayed before it was applied, if they were emitted since a
given time and are still kept. An event that has its delivery gets no second one, even if a person
discarded the first. Cancelled events get none.

The command goes through the history in pieces, and waits while the relay has much to do. The
deliveries come behind the events that are already due. With ordering: key, deliveries with an
ordering key wait until all of them are made. Then those of each key follow the order of its events.

If the command is stopped or killed, the deliveries that were made stay. Call the command again to go on; the leader
among the relays goes on as well, if nobody else does. Without --yes the command only counts.`,
		Example: `  outboxd subscriptions replay crm --since 48h
  outboxd subscriptions replay crm --since 2026-11-01T00:00Z --yes --reason "the receiver is new"`,
		Args: cli.OneArgument("one name of a subscription"),
	}
	out.AddFlag(cmd)
	flags.Add(cmd)
	cmd.Flags().StringVar(&sinceText, "since", "", "events emitted within this time (48h), or since this moment (RFC 3339); required")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		since, err := replayMoment("--since", sinceText)
		if err == nil && since.IsZero() {
			err = config.Mistake{Err: errors.New("--since is required, such as --since 48h")}
		}
		if err != nil {
			return err
		}
		store := subscriptions.New(o.DB)
		found, err := store.Find(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if found.Paused != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "Subscription %[1]s is paused: the deliveries wait until it is resumed (outboxd subscriptions resume %[1]s).\n", found.Name)
		}
		if !flags.Yes {
			matched, err := countReplays(cmd, store, &out, []setup.Subscription{*found}, since, "nothing to do")
			if err != nil || matched == 0 {
				return err
			}
			return flags.Consent("replay them")
		}
		if err := store.BeginReplay(cmd.Context(), flags.Action(nil), found.Name, since); err != nil {
			return err
		}
		replay, err := followReplay(cmd, store, found.Name)
		if err != nil {
			return err
		}
		return out.Write(cmd.OutOrStdout(), replay, func(w io.Writer) {
			said := replaySaid(replay)
			if replay.Matched == 0 {
				said = "No event matches; nothing to do."
			}
			fmt.Fprintf(w, "%s\t%s\n", found.Name, said)
		})
	})
	return cmd
}

// replayMoment reads the value of a flag with a time; "" gives the zero time.
func replayMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	since, err := lives.ParseMoment(text, time.Now())
	if err != nil {
		return since, config.Mistake{Err: fmt.Errorf("%s: %w", flag, err)}
	}
	return since, nil
}

// ReplayCount says how many events a replay covers.
type ReplayCount struct {
	Subscription string    `json:"subscription"`
	Since        time.Time `json:"since"`
	Matched      int64     `json:"matched"`
	DryRun       bool      `json:"dry_run"`
}

// ReplayCounts is the result of a command that only counts what replays cover.
type ReplayCounts struct {
	Replays []ReplayCount `json:"replays"`
}

// countReplays prints how many events the replays to the listed subscriptions cover, and returns their sum. It prints
// the text nothing for a replay that covers none.
func countReplays(cmd *cobra.Command, store *subscriptions.Store, out *terminal.Output, list []setup.Subscription, since time.Time, nothing string) (sum int64, err error) {
	counts := make([]ReplayCount, len(list))
	for i := range list {
		matched, err := store.CountReplay(cmd.Context(), &list[i], since)
		if err != nil {
			return sum, err
		}
		counts[i] = ReplayCount{list[i].Name, since.UTC(), matched, true}
		sum += matched
	}
	return sum, out.Write(cmd.OutOrStdout(), ReplayCounts{counts}, func(w io.Writer) {
		for _, c := range counts {
			if c.Matched == 0 {
				fmt.Fprintf(w, "%s\tNo event that was emitted since %s matches; %s.\n", c.Subscription, terminal.Instant(c.Since), nothing)
				continue
			}
			fmt.Fprintf(w, "%s\t%s emitted since %s. Those with a delivery get no other.\n", c.Subscription,
				words.Many(c.Matched, "event")+words.Plural(c.Matched, " matches", " match")+" that "+words.Plural(c.Matched, "was", "were"), terminal.Instant(c.Since))
		}
	})
}

// progressEvery is how often a running replay prints its progress.
const progressEvery = 2 * time.Second

// followReplay continues a replay until its end, and prints its progress.
func followReplay(cmd *cobra.Command, store *subscriptions.Store, name string) (*setup.SubscriptionReplay, error) {
	told := time.Now()
	err := store.ContinueReplay(cmd.Context(), name, func(r setup.SubscriptionReplay) {
		if time.Since(told) >= progressEvery {
			told = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s so far\n", name, replaySaid(&r))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("the replay to %s has begun and not ended; a relay goes on with it, and so does the same command: %w", name, err)
	}
	replay, err := store.Replay(cmd.Context(), name)
	if err == nil && replay == nil {
		err = domain.Errorf(domain.CodeNotFound, "subscription %q was removed meanwhile", name)
	}
	return replay, err
}

func replaySaid(r *setup.SubscriptionReplay) string {
	said := fmt.Sprintf("%s made of %s that %s", words.Count(r.Made)+words.Plural(r.Made, " delivery", " deliveries"), words.Many(r.Matched, "event"), words.Plural(r.Matched, "matches", "match"))
	if r.Refused > 0 {
		said += fmt.Sprintf("; %s left out, see the log", words.Many(r.Refused, "event"))
	}
	return said
}
