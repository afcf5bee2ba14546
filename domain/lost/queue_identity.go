package lost

import (
	"context"
	"time"
)

// QueueIdentity shows whether a queue has kept its data. It names the server process,
// the line of masters, and the canary: a random value that outboxd writes beside the
// tasks and renews. A field is empty if the server does not tell it.
type QueueIdentity struct {
	RunID         string // every start of the server makes a new one
	ReplicationID string // every takeover by a replica makes a new one
	Canary        string
}

// Change returns in a few words why the queue may have lost data since it was
// known; "" if nothing speaks for that. An empty field is no evidence.
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

// Older reports whether the queue has a canary other than the known one. Then
// either the queue or the database that remembers the known one has gone back.
func (i QueueIdentity) Older(known QueueIdentity) bool {
	return i.Canary != "" && i.Canary != known.Canary
}

// Over returns i with its empty fields taken from known.
func (i QueueIdentity) Over(known QueueIdentity) QueueIdentity {
	if i.RunID == "" {
		i.RunID = known.RunID
	}
	if i.ReplicationID == "" {
		i.ReplicationID = known.ReplicationID
	}
	return i
}

// IdentifiedQueue reads and marks a queue's identity. Its methods are safe for
// concurrent use.
type IdentifiedQueue interface {
	// Identify reads the identity of the queue. name is the name of the canary.
	// Errors: CodeUnavailable.
	Identify(ctx context.Context, name string) (QueueIdentity, error)

	// Mark writes next as the canary, whatever it was. Errors: CodeUnavailable;
	// next may then be written or not.
	Mark(ctx context.Context, name, next string) error

	// Advance writes next as the canary if the canary is known, in one step,
	// and reports whether it did. Errors: those of Mark.
	Advance(ctx context.Context, name, known, next string) (bool, error)

	// Renew forgets everything cached about the queue's contents.
	Renew()
}

// QueueRecord is what the database remembers about the queue, and about itself.
type QueueRecord struct {
	// Name is the name of the canary. No other outbox that uses the same queue
	// has it.
	Name     string
	Identity QueueIdentity // with an empty canary: the queue was never seen
	Database DatabaseIdentity
	History  time.Duration // how long the history keeps events; 0: there is no history
	HealedAt time.Time     // zero: never
}

// QueueMemory stores the queue's identity in the database of the events. Its
// methods are safe for concurrent use, by any number of processes.
//
// Errors: CodeUnavailable if the database cannot be reached.
type QueueMemory interface {
	// Recall returns the record.
	Recall(ctx context.Context) (QueueRecord, error)

	// Remember replaces the identity known by next. healed says that everything
	// the queue may have lost is in the outbox again.
	//
	// Errors: CodeConflict if another process has replaced it.
	Remember(ctx context.Context, known, next QueueIdentity, healed bool) error

	// Database reads the identity of the database.
	Database(ctx context.Context) (DatabaseIdentity, error)

	// RememberDatabase stores the database's identity, and how long the history
	// keeps events from now on.
	RememberDatabase(ctx context.Context, is DatabaseIdentity, history time.Duration) error

	// Doubt records that the database may have gone back. The events of older
	// tasks may not exist, or not have their key's turn; such tasks then have
	// no effect. What consumers with another database acknowledged so far is
	// skipped. Doubt returns after about a second, when every session knows.
	Doubt(ctx context.Context) error

	// Redrive puts events back into the outbox: those that were handed to the queue before the call
	// and within the window, and are not confirmed. It returns how many. It waits for batches that
	// were claimed before the call and commit while it runs, and covers their events too. Events of
	// the types in except stay where they are. The journal records why.
	//
	// After an error, events that were put back stay in the outbox. Calling it
	// again is harmless.
	Redrive(ctx context.Context, window time.Duration, except []string, why string) (int64, error)
}
