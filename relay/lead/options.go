package lead

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// Duties are what the leader does, and what with. Only Housekeeping, History and
// InboxRetention are required.
type Duties struct {
	Housekeeping domain.Housekeeping
	// Unfinished says of an event that the store does not have any more whether
	// the queue has it. nil: such an event keeps its ordering key's turn.
	Unfinished domain.UnfinishedTasks
	// Cancelled deletes the tasks of cancelled events. nil: they stay until a worker
	// takes them, and have no effect.
	Cancelled domain.TaskRemover
	// Unconfirmed are the types of events that no consumer confirms.
	Unconfirmed []string
	// Healing is what a queue's loss of data is noticed and mended by. nil, as
	// for a queue that is emptied on purpose, lets it go unnoticed.
	Healing *Healing
	// Acknowledging confirms what consumers with another database acknowledged.
	// nil: nobody does.
	Acknowledging *Acknowledging
	// Replays are replays to subscriptions, which the leader goes on with if nobody
	// else does. nil: nobody does.
	Replays domain.SubscriptionReplays
	// Archives finds the tasks that the queue archived. nil: no search.
	Archives *Archives
	// Reconciliation is what a loss of single tasks is noticed and mended by,
	// beside Healing. nil lets it go unnoticed.
	Reconciliation *Reconciliation

	History        time.Duration // how long sent events are remembered
	InboxRetention time.Duration // how long confirmations are; at least History
}

// Relay is what the leader knows of the relay that it is a part of.
type Relay struct {
	Process domain.RelayProcess
	// Unreachable reports that the queue is known to be out of reach.
	Unreachable func() bool
	// HandedOver is how many events this process has handed over so far.
	HandedOver func() int64
	Logger     *slog.Logger
	Registry   prometheus.Registerer
}
