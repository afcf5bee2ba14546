package events

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/jobs/lookup"
)

func newEventsEraseCommand(c cli.Commands) *cobra.Command {
	cmd := newEventChangeCommand(c, config.RoleRelay, &eventChange{
		verb: "erase", past: "Erased", done: domain.ChangeErased, states: lives.States(), inRedis: true,
		change: func(ctx context.Context, changes domain.EventChanges, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
			return changes.Erase(ctx, action, ids)
		},
	})
	cmd.Short = "Remove the payload and the headers of events, everywhere"
	cmd.Long = `Remove the payload, the headers and the errors of events, for those who must forget a person: from the outbox,
what is held, the history, dead letters, suppressed and cancelled events, and their tasks in Redis, completed and
archived ones too. Their IDs, types, ordering keys and times stay, and so does the account.
What has not taken effect is cancelled, and what is dead is discarded: nothing is sent again without its payload.
An event is erased with its deliveries, or not at all. What cannot be erased just now is named, with the reason. If
a task is running, the relay deletes it when it has ended. Backups, the WAL and what handlers wrote are not touched.`
	cmd.Example = `  outboxd events erase --header person=4711 --yes --reason "asked to be forgotten"
  outboxd events erase 01980000-0000-7000-8000-000000000000 --yes`
	return cmd
}

// removeTasks deletes the tasks of changed events and of their deliveries.
// removeTasks leaves tasks that are running or cannot be deleted now; the relay
// deletes those later.
func (r *eventChangeRun) removeTasks(ctx context.Context, ids []domain.ID) error {
	tasks, err := r.changes.Tasks(ctx, ids)
	if err != nil || len(tasks) == 0 {
		return err
	}
	if err := r.openRedis(); err != nil {
		return err
	}
	if _, err := lookup.New(r.redis).Remove(ctx, tasks); err != nil {
		return fmt.Errorf("%s %s in the database; a relay deletes their tasks in Redis when it can: %w", words.Many(r.result.Changed, "event"), words.Plural(r.result.Changed, "is erased", "are erased"), err)
	}
	return nil
}
