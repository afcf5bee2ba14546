package command

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/domain"
	"outboxd/repository"
)

// redriveNamed sends events again that are named, or that the relay has found
// to be missing.
func redriveNamed(cmd *cobra.Command, o *opened, args []string, dryRun bool, acting *actionFlags, out *output) error {
	ids, err := eventIDs(args)
	if err != nil {
		return err
	}
	events := repository.NewMissingEvents(o.db)
	filter, what := map[string]string{"events": fmt.Sprint(len(ids))}, "events are named"
	if len(ids) == 0 {
		filter, what = map[string]string{"missing": "true"}, "events are not confirmed and have no task in Redis"
		list, err := events.Missing(cmd.Context(), domain.MissingNoted)
		if err != nil {
			return err
		}
		for i := range list {
			ids = append(ids, list[i].Event.ID)
		}
	}
	result := changeDocument{Action: "redrive", Matched: int64(len(ids)), DryRun: dryRun || !acting.yes}
	if !dryRun {
		err = acting.consent("redrive")
	}
	if !result.DryRun {
		action := acting.action(filter)
		result.Changed, err = events.RedriveEvents(cmd.Context(), action, ids)
		if !action.ID.IsZero() {
			result.ActionID = &action.ID
		}
	}
	return cmp.Or(out.write(cmd.OutOrStdout(), result, func(w io.Writer) {
		if !result.DryRun {
			fmt.Fprintf(w, "Sent %d events again.\n", result.Changed)
			return
		}
		fmt.Fprintf(w, "%d %s.\n", len(ids), what)
		for _, id := range ids[:min(len(ids), listedMissing)] {
			fmt.Fprintln(w, id)
		}
	}), err)
}

// listedMissing is how many events a dry run names.
const listedMissing = 100
