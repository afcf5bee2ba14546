package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/dead"
	"outboxd/app/command/terminal"
	"outboxd/app/lookout"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/words"
	"outboxd/jobs/publish"
	"outboxd/repository/heal"
)

func newRedriveCommand(c cli.Commands) *cobra.Command {
	var acting cli.ActionFlags
	var out terminal.Output
	var filter heal.RedriveFilter
	var dryRun, missing bool
	cmd := &cobra.Command{
		Use:   "redrive [ID...]",
		Short: "Send again the events that were handed to Redis and never confirmed",
		Long: `Send again the events that were handed to Redis and are not confirmed. The leader does the same by
itself when Redis has lost its data. Nothing happens twice: Redis recognises a task that it still has
by its ID, and the inbox stops an event that took effect. Events of the types in --relay-unconfirmed
are not sent. If one of their queues is paused, the command says so: tasks wait there.

With --missing it sends only the events that the leader has found to be missing: they are not
confirmed, and their tasks are no longer in Redis. With IDs it sends those events, unless they are
confirmed.`,
		Example: `  outboxd redrive --since 1h --dry-run
  outboxd redrive --missing --dry-run
  outboxd redrive --since 1h --type email:send_notification --yes --reason "restored an old snapshot of Redis"`,
	}
	acting.Add(cmd)
	out.AddFlag(cmd)
	cmd.Flags().BoolVar(&missing, "missing", false, "only what the relay has found to be missing in Redis")
	cli.DurationVar(cmd.Flags(), &filter.Since, "since", 0, "only events handed to Redis within this time, such as 1h; required without --missing or IDs")
	cmd.Flags().StringVar(&filter.Type, "type", "", "only of this event type")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	cmd.RunE = c.WithServers(config.RoleAPI, &out, func(cmd *cobra.Command, args []string, o *cli.Opened) error {
		if missing || len(args) > 0 {
			if filter.Since != 0 || filter.Type != "" || missing && len(args) > 0 {
				return config.Mistake{Err: errors.New("--missing, IDs, and --since with --type exclude each other")}
			}
			return redriveNamed(cmd, o, args, dryRun, &acting, &out)
		}
		if err := checkRedrive(filter, o.Config); err != nil {
			return err
		}
		filter.Except = o.Config.Relay.Unconfirmed
		redriver := heal.NewRedriver(o.DB)
		matched, queues, err := redriver.CountRedrive(cmd.Context(), filter)
		if err != nil {
			return err
		}
		result := dead.ChangeDocument{Action: "redrive", Matched: matched, DryRun: dryRun || !acting.Yes, PausedQueues: pausedAmong(cmd, o, queues)}
		if !dryRun && matched > 0 {
			err = acting.Consent("send them again")
		}
		if !result.DryRun {
			action := acting.Action(redriveSaid(filter))
			result.Changed, err = redriver.RedriveByHand(cmd.Context(), action, filter)
			if !action.ID.IsZero() {
				result.ActionID = &action.ID
			}
		}
		return cmp.Or(out.Write(cmd.OutOrStdout(), result, func(w io.Writer) {
			if result.DryRun {
				fmt.Fprintf(w, "%s handed to Redis in the last %s and %s not confirmed.\n", words.Many(matched, "event")+words.Plural(matched, " was", " were"), words.Duration(filter.Since), words.Plural(matched, "is", "are"))
			} else {
				fmt.Fprintf(w, "Sent %s again.\n", words.Many(result.Changed, "event"))
			}
		}), err)
	})
	return cmd
}

func checkRedrive(filter heal.RedriveFilter, cfg *config.Config) error {
	switch {
	case filter.Since <= 0:
		return config.Mistake{Err: fmt.Errorf("--since is required, such as --since 1h, or --missing, or IDs of events")}
	case filter.Since > cfg.Relay.InboxRetention:
		return config.Mistake{Err: fmt.Errorf("--since %v reaches further back than confirmations are kept (--relay-inbox-retention is %v): events could take effect twice",
			filter.Since, cfg.Relay.InboxRetention)}
	case slices.Contains(cfg.Relay.Unconfirmed, filter.Type):
		return config.Mistake{Err: fmt.Errorf("no consumer confirms events of the type %s (--relay-unconfirmed), so outboxd cannot know which of them are lost", filter.Type)}
	}
	return nil
}

func redriveSaid(filter heal.RedriveFilter) map[string]string {
	said := map[string]string{"since": words.Duration(filter.Since)}
	if filter.Type != "" {
		said["type"] = filter.Type
	}
	return said
}

// redriveNamed sends the events with the IDs in args again. Without args, redriveNamed sends again the events whose
// tasks the leader found missing. A dry run sends nothing.
func redriveNamed(cmd *cobra.Command, o *cli.Opened, args []string, dryRun bool, acting *cli.ActionFlags, out *terminal.Output) error {
	ids, err := cli.EventIDs(args)
	if err != nil {
		return err
	}
	events := heal.NewMissingEvents(o.DB)
	filter, what := map[string]string{"events": fmt.Sprint(len(ids))}, "events are named"
	if len(ids) == 0 {
		filter, what = map[string]string{"missing": "true"}, "events are not confirmed and have no task in Redis"
		list, err := events.Missing(cmd.Context(), lost.MissingNoted)
		if err != nil {
			return err
		}
		for i := range list {
			ids = append(ids, list[i].Event.ID)
		}
		sayLoss(cmd, o)
	}
	queues, err := events.RedriveQueues(cmd.Context(), ids)
	if err != nil {
		return err
	}
	result := dead.ChangeDocument{Action: "redrive", Matched: int64(len(ids)), DryRun: dryRun || !acting.Yes, PausedQueues: pausedAmong(cmd, o, queues)}
	if !dryRun && len(ids) > 0 {
		err = acting.Consent("send them again")
	}
	if !result.DryRun {
		action := acting.Action(filter)
		result.Changed, err = events.RedriveEvents(cmd.Context(), action, ids)
		if !action.ID.IsZero() {
			result.ActionID = &action.ID
		}
	}
	return cmp.Or(out.Write(cmd.OutOrStdout(), result, func(w io.Writer) {
		if !result.DryRun {
			fmt.Fprintf(w, "Sent %s again.\n", words.Many(result.Changed, "event"))
			return
		}
		fmt.Fprintf(w, "%s %s.\n", words.Count(len(ids)), what)
		for _, id := range ids[:min(len(ids), listedMissing)] {
			fmt.Fprintln(w, id)
		}
	}), err)
}

// pausedAmong warns of paused queues as cli.PausedQueues does. If no queues are given, it asks Redis nothing and
// prints nothing.
func pausedAmong(cmd *cobra.Command, o *cli.Opened, queues []domain.QueueCount) []cli.PausedQueue {
	if len(queues) == 0 {
		return nil
	}
	return cli.PausedQueues(cmd, o, queues)
}

// sayLoss says on standard error if Redis may have lost data. Until the leader heals the loss, the database has no
// list of what is missing.
func sayLoss(cmd *cobra.Command, o *cli.Opened) {
	if o.Servers.RedisURL == "" {
		return
	}
	redis, err := o.Servers.OpenRedis(cli.RedisConnections)
	if err != nil {
		return // the command needs no Redis
	}
	defer redis.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), lossPatience)
	defer cancel()
	if reason := lookout.Loss(ctx, heal.NewQueueMemory(o.DB), publish.New(redis)); reason != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "Redis may have lost its data (%s). A relay notices that at its next check (--redis-check-interval), and sends every unconfirmed event of the history again. If no relay runs, start one. Until then, events whose tasks are lost do not count as missing.\n", reason)
	}
}

// lossPatience bounds the check whether Redis has lost data.
const lossPatience = 2 * time.Second

// listedMissing is how many events a dry run lists at most.
const listedMissing = 100
