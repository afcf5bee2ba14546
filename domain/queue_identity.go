package domain

import (
	"context"
	"time"
)

// QueueIdentity is what tells whether a queue has kept its data: the process
// that serves it, the line of masters that it belongs to, and a canary, which is
// a random value that outboxd writes beside the tasks and renews. A field is empty where
// the server does not tell.
type QueueIdentity struct {
	RunID         string // made anew whenever the server starts
	ReplicationID string // made anew whenever a replica takes over
	Canary        string
}

// Change says in a few words why the queue that is now i may have lost data
// since it was known; "" if nothing speaks for that. What either of them
// does not tell is no evidence.
func (i QueueIdentity) Change(known QueueIdentity) string {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case i.Canary == "":
		return "the canary is gone: it was emptied, or is another one"
	case i.Canary != known.Canary:
		return "the canary is not the last one: an older state was restored, or somebody else uses it too"
	case differ(i.RunID, known.RunID):
		return "it was restarted, or another server took over"
	case differ(i.ReplicationID, known.ReplicationID):
		return "a replica took over, or it began to have replicas"
	default:
		return ""
	}
}

// Older reports whether the canary is there and not the known one. The queue then
// has an older state, or whoever remembers the known one does.
func (i QueueIdentity) Older(known QueueIdentity) bool {
	return i.Canary != "" && i.Canary != known.Canary
}

// Over returns i with what it does not tell taken from known.
func (i QueueIdentity) Over(known QueueIdentity) QueueIdentity {
	if i.RunID == "" {
		i.RunID = known.RunID
	}
	if i.ReplicationID == "" {
		i.ReplicationID = known.ReplicationID
	}
	return i
}

// IdentifiedQueue is a queue that can be asked who it is. Its methods are safe
// for concurrent use.
type IdentifiedQueue interface {
	// Identify reads the identity of the queue in use. name is that of the
	// canary. Errors: CodeUnavailable.
	Identify(ctx context.Context, name string) (QueueIdentity, error)

	// Mark makes next the canary, whatever it was. Errors: CodeUnavailable,
	// and then nobody knows whether it is.
	Mark(ctx context.Context, name, next string) error

	// Advance makes next the canary if it is known, in one step, and reports
	// whether it was. Errors: those of Mark.
	Advance(ctx context.Context, name, known, next string) (bool, error)

	// Renew forgets what was assumed of the queue's contents.
	Renew()
}

// QueueRecord is what is remembered about the queue, and about the database that
// remembers it.
type QueueRecord struct {
	// Name is that of the canary, and of nobody else's who uses the same queue.
	Name     string
	Identity QueueIdentity // with an empty canary: the queue was never seen
	Database DatabaseIdentity
	History  time.Duration // how long events that were handed over are kept; 0: not at all
	HealedAt time.Time     // zero: never
}

// QueueMemory remembers the queue's identity where the events are kept. Its
// methods are safe for concurrent use, by any number of processes.
//
// Errors: CodeUnavailable if the database cannot be reached.
type QueueMemory interface {
	// Recall returns the record.
	Recall(ctx context.Context) (QueueRecord, error)

	// Remember replaces the identity known by next. healed says that whatever
	// the queue may have lost in between is in the outbox again.
	//
	// Errors: CodeConflict if another process has replaced it.
	Remember(ctx context.Context, known, next QueueIdentity, healed bool) error

	// Database asks the database who it is. What it does not tell is empty.
	Database(ctx context.Context) (DatabaseIdentity, error)

	// RememberDatabase replaces what is remembered of the database, and how long
	// events that were handed over are kept from now on.
	RememberDatabase(ctx context.Context, is DatabaseIdentity, history time.Duration) error

	// Doubt remembers that the database may have gone back: tasks of events
	// from before now may be of events that do not exist, or not of those whose
	// turn it is. They then have no effect. It returns after about a second,
	// when every session knows.
	Doubt(ctx context.Context) error

	// Redrive puts every event back into the outbox that was handed to the queue
	// before the call and within the window, and that nobody has
	// confirmed, and returns how many. That includes the events of batches that
	// were claimed before the call and are settled while it runs, for which it waits. Events of the types in
	// except stay where they are. The journal says why.
	//
	// What was put back before an error stays so; putting back again is
	// harmless.
	Redrive(ctx context.Context, window time.Duration, except []string, why string) (int64, error)
}
