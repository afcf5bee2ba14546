package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/pauses"
	"outboxd/repository/search"
)

// PausedQueue is a paused queue in which tasks will wait.
type PausedQueue struct {
	Queue  string `json:"queue"`
	Events int64  `json:"events"` // those of the matched events that are in this queue
}

// PausedQueues says on standard error which of the queues are paused, or belong to a paused subscription, before a
// command sends their events again. It returns nil if that is not known, and an empty list if none is paused.
func PausedQueues(cmd *cobra.Command, o *Opened, queues []domain.QueueCount) []PausedQueue {
	if o.Servers.RedisURL == "" {
		return nil
	}
	broker.BridgeLog(o.Log)
	paused, err := pausedAmong(cmd.Context(), o, queues)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "Redis does not say which queues are paused. In a paused queue, tasks wait.")
		return nil
	}
	list := []PausedQueue{}
	for _, q := range paused {
		what, resume := "Queue "+terminal.OneLine(q.Queue, 0), "outboxd queues resume "+terminal.ShellWord(q.Queue)
		if name, delivery := setup.SubscriptionOfQueue(q.Queue); delivery {
			what, resume = "Subscription "+name, "outboxd subscriptions resume "+name+", or Asynq's tools if they paused its queue"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is paused: %s there until it is resumed (%s).\n", what, waiting(q.Count), resume)
		list = append(list, PausedQueue{q.Queue, q.Count})
	}
	return list
}

func waiting(tasks int64) string {
	if tasks == 1 {
		return "the task waits"
	}
	return "the " + words.Many(tasks, "task") + " wait"
}

func pausedAmong(ctx context.Context, o *Opened, queues []domain.QueueCount) ([]domain.QueueCount, error) {
	redis, err := o.Servers.OpenRedis(RedisConnections)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	ctx, cancel := context.WithTimeout(ctx, lives.CommandPatience)
	defer cancel()
	all := figures.Pauses{Queues: pauses.New(redis), Receivers: search.NewOverviews(o.DB).Receivers}
	return all.Among(ctx, queues)
}
