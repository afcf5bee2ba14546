package command

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/lookup"
)

func (c commands) newEventsEraseCommand() *cobra.Command {
	cmd := c.newEventChangeCommand(config.RoleRelay, &eventChange{
		verb: "erase", past: "Erased", done: domain.ChangeErased, states: domain.EventStates(), inRedis: true,
		change: func(ctx context.Context, changes domain.EventChanges, action *domain.Action, ids []domain.ID) ([]domain.Change, error) {
			return changes.Erase(ctx, action, ids)
		},
	})
	cmd.Short = "Remove the payload and the headers of events, everywhere"
	cmd.Long = `Remove the payload, the headers and the errors of events, for those who must forget a person: from the outbox,
what is held, the history, dead letters, suppressed and cancelled events, and their tasks in Redis, completed and
archived ones too. Their IDs, types, ordering keys and times stay, and so does the account.
What has not taken effect is cancelled, and what is dead is discarded: nothing is sent again without its payload.
What cannot be erased just now is named, with the reason. Backups, the WAL and what handlers wrote are not touched.`
	cmd.Example = `  outboxd events erase --header person=4711 --yes --reason "asked to be forgotten"
  outboxd events erase 01980000-0000-7000-8000-000000000000 --yes`
	return cmd
}

// locate returns summaries of named events. For unknown events only the ID is
// set.
func locate(ctx context.Context, lives domain.EventLives, ids []domain.ID) ([]domain.EventSummary, error) {
	events := make([]domain.EventSummary, len(ids))
	for i, id := range ids {
		events[i].ID = id
		life, err := lives.Find(ctx, id)
		switch {
		case domain.ErrorCode(err) == domain.CodeNotFound:
			events[i].State = domain.StateGone
			continue
		case err != nil:
			return nil, err
		}
		last := life.LastKnown()
		events[i].State, events[i].Queue, events[i].Generation = life.State, last.Queue, last.Generation
	}
	return events, nil
}

// withTasks changes events and removes their tasks from Redis. An event that has
// ended loses its task first: if the command is interrupted in between, a
// repetition finds the event again. Other events are cancelled first. A task that
// runs now is removed by the relay later.
func (e *eventChange) withTasks(ctx context.Context, o *opened, events []domain.EventSummary, change func([]domain.ID) ([]domain.Change, error)) ([]domain.Change, error) {
	redis, err := broker.Open(o.servers.RedisURL, redisConnections)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	finder := lookup.New(redis)
	var ended, open []domain.Event
	for i := range events {
		event := domain.Event{ID: events[i].ID, Queue: events[i].Queue, Generation: events[i].Generation}
		switch {
		case event.Queue == "": // without its queue the task cannot be found
		case slices.Contains([]domain.EventState{domain.StatePending, domain.StateHeld, domain.StateInFlight}, events[i].State):
			open = append(open, event)
		default:
			ended = append(ended, event)
		}
	}
	removed, err := finder.Remove(ctx, ended)
	if err != nil {
		return nil, err
	}
	var answers []domain.Change
	runs := map[domain.ID]bool{}
	for i := range ended {
		if !removed[i] {
			runs[ended[i].ID] = true
			answers = append(answers, domain.Change{ID: ended[i].ID, Answer: domain.TooLateRunning})
		}
	}
	var ids []domain.ID
	for i := range events {
		if !runs[events[i].ID] {
			ids = append(ids, events[i].ID)
		}
	}
	changes, err := change(ids)
	if err != nil {
		return answers, err
	}
	erased := map[domain.ID]bool{}
	for _, one := range changes {
		erased[one.ID] = one.Answer == e.done
	}
	open = slices.DeleteFunc(open, func(event domain.Event) bool { return !erased[event.ID] })
	_, err = finder.Remove(ctx, open)
	return append(answers, changes...), err
}
