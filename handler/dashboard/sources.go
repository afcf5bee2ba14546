package dashboard

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/failing"
	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/events"
	"outboxd/handler/dashboard/setups"
)

// Sources gives the pages their data. Each of its interfaces, pointers and functions may
// be nil. A page that needs a missing one says that this process has no database, or no
// Redis, to look into.
type Sources struct {
	Events overview.Overviews // for the charts
	// Look returns the state of the system. Facts that are cheap to read are not older than
	// maxAge.
	Look func(maxAge time.Duration) diagnosis.Sight
	// Lives searches events and reads what happened to one event. Lives may read from a
	// standby, whose data may be a little old. Before a change, the pages read from
	// Current, which reads from the primary; nil: from Lives.
	Lives, Current lives.Reader
	// Standby says from which server the pages read; ok is false if no standby is
	// configured. Wrote is called after a change, so that the pages show the change. Both
	// may be nil.
	Standby func(context.Context) (s domain.Standby, ok bool)
	Wrote   func(context.Context)
	Tasks   queued.TaskStates
	Dead    domain.DeadLetters
	// Failing finds failing events and changes them.
	Failing *failing.Change

	Subscriptions setup.SubscriptionOverviews
	// Figures reads the figures of types, queues and workers. Pauses pauses and resumes queues.
	Figures     *figures.Source
	Pauses      *figures.Pauses
	Corrections domain.Corrections
	// PayloadLimit is the size of the largest payload that the outbox takes, in bytes; 0: it is
	// not known.
	PayloadLimit int
	Changes      domain.EventChanges
	Keys         events.HeldKeys
	Schedules    setups.ScheduleList
	// Unconfirmed lists the event types whose consumers do not confirm events.
	Unconfirmed []string
	// Mask is a list of names. The pages hide the values of payload keys and
	// headers whose name contains one of them.
	Mask []string
	// TraceURL is the web address of a trace, in which {trace_id} stands for the
	// trace's ID. If TraceURL is "", the pages do not link to traces.
	TraceURL string
}
