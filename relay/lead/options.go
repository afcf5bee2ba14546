package lead

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// Duties are the leader's duties and what it needs for them. Only Housekeeping,
// History and InboxRetention are required.
type Duties struct {
	Housekeeping domain.Housekeeping
	// Unfinished reports whether Redis still has a task of an event that the database no
	// longer has. If Unfinished is nil, such an event keeps the turn of its ordering key.
	Unfinished queued.UnfinishedTasks
	// Cancelled deletes the tasks of events that were cancelled, rescheduled, erased or
	// discarded. If Cancelled is nil, these tasks stay in Redis. The database then still
	// refuses to confirm a cancelled event, and a rescheduled event before its new time.
	Cancelled queued.TaskRemover
	// Unconfirmed are the types of events that no consumer confirms.
	Unconfirmed []string
	// DeadHoldsKey says that a dead letter keeps the turn of its ordering key.
	DeadHoldsKey bool
	// Outward are the types of events whose handlers act outside the database.
	Outward []string
	// Healing is for a loss of all data in Redis. If Healing is nil, such a loss goes
	// unnoticed; that is right for a Redis that is emptied on purpose.
	Healing *Healing
	// Acknowledging confirms events that consumers with another database acknowledged. If
	// Acknowledging is nil, these events stay unconfirmed.
	Acknowledging *Acknowledging
	// Changes makes the changes of events that producers asked for and that need a look
	// into Redis. If Changes is nil, the requests stay.
	Changes domain.ChangeRequests
	// Replays lets the leader continue a replay to a subscription whose command ended
	// early. If Replays is nil, such a replay stops.
	Replays setup.SubscriptionReplays
	// Schedules emits the events of schedules. If Schedules is nil, this leader emits none.
	Schedules setup.Schedules
	// Archives makes dead letters of archived tasks. If Archives is nil, the leader does
	// not search for archived tasks.
	Archives *Archives
	// Queues counts the waiting tasks in Redis. If Queues is nil, the leader does not count
	// these tasks.
	Queues *Queues
	// Reconciliation is for a loss of single tasks in Redis. If Reconciliation or Healing is nil, such a loss goes
	// unnoticed.
	Reconciliation *Reconciliation

	History        time.Duration // how long the history keeps events
	InboxRetention time.Duration // how long confirmations are kept; at least History
}

// Relay is the leader's view of its relay.
type Relay struct {
	Process domain.RelayProcess
	// Unreachable reports whether the relay has stopped using Redis because of an outage.
	Unreachable func() bool
	// Unusable reports whether the relay has stopped using Redis or the database because of an outage.
	Unusable func() bool
	// HandedOver returns how many events this process has handed to Redis so far.
	HandedOver func() int64
	Logger     *slog.Logger
	Registry   prometheus.Registerer
}
