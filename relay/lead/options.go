package lead

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// Duties are the leader's duties and what it needs for them. Only Housekeeping,
// History and InboxRetention are required.
type Duties struct {
	Housekeeping domain.Housekeeping
	// Unfinished says whether the queue still has an event that the store does
	// not have any more. nil: such an event keeps its ordering key's turn.
	Unfinished domain.UnfinishedTasks
	// Cancelled deletes the tasks of cancelled events. nil: they stay until a worker
	// takes them, and have no effect.
	Cancelled domain.TaskRemover
	// Unconfirmed are the types of events that no consumer confirms.
	Unconfirmed []string
	// Outward are the types of events whose handlers act outside the database.
	Outward []string
	// Healing notices and mends a loss of all data in the queue. nil: such a
	// loss goes unnoticed, as for a queue that is emptied on purpose.
	Healing *Healing
	// Acknowledging confirms events that consumers with another database
	// acknowledged. nil: they stay unconfirmed.
	Acknowledging *Acknowledging
	// Replays are replays to subscriptions, which the leader goes on with if nobody
	// else does. nil: nobody does.
	Replays domain.SubscriptionReplays
	// Schedules emits the events of schedules. nil: nobody does.
	Schedules domain.Schedules
	// Archives finds the tasks that the queue archived. nil: no search.
	Archives *Archives
	// Queues measures what waits in the queue. nil: nobody does.
	Queues *Queues
	// Reconciliation notices and mends a loss of single tasks. It needs
	// Healing. nil: such a loss goes unnoticed.
	Reconciliation *Reconciliation

	History        time.Duration // how long the history keeps events
	InboxRetention time.Duration // how long confirmations are kept; at least History
}

// Relay is the leader's view of its relay.
type Relay struct {
	Process domain.RelayProcess
	// Unreachable reports whether the queue is known to be unreachable.
	Unreachable func() bool
	// Unusable reports whether the relay has stopped using the queue or the database.
	Unusable func() bool
	// HandedOver returns how many events this process has handed over so far.
	HandedOver func() int64
	Logger     *slog.Logger
	Registry   prometheus.Registerer
}
