package lost

import (
	"context"
	"time"
)

// QueueIdentity tells whether Redis has kept its data. The canary is a random value that outboxd writes to Redis
// beside the tasks, and replaces regularly. A field is empty if the server does not report it.
type QueueIdentity struct {
	// In a Redis Cluster, RunID and ReplicationID each have the IDs of all masters.
	RunID         string // every start of the server makes a new one
	ReplicationID string // every takeover by a replica makes a new one
	Canary        string
	// Shards has the masters of a Redis Cluster and their slots, as JoinShards writes them.
	Shards string
	// If some canaries are missing while others are still there, Gone has the slots of the missing ones, as
	// Slots.String writes them. It is not stored.
	Gone string
}

// Change compares i with an earlier identity. Change returns in a few words what happened to Redis, so that it may
// have lost data, and "" if there is no sign of a loss. An empty canary is such a sign; other empty fields are not
// compared. If both identities have shards, Change compares the shards in place of the two IDs.
func (i QueueIdentity) Change(known QueueIdentity) string {
	slots, narrow := i.LostSlots(known)
	switch {
	case i.Canary == "":
		return i.emptied(known)
	case i.Canary != known.Canary && i.hasOtherIDs(known):
		return QueueOlder
	case i.Canary != known.Canary:
		return CanaryOther
	case i.Gone != "":
		return MasterEmptied
	case narrow && slots.Len() == 0:
		return ""
	case narrow, i.Shards+known.Shards != "" && i.hasOtherIDs(known):
		return MasterOther
	case differ(i.RunID, known.RunID):
		return QueueRestarted
	case differ(i.ReplicationID, known.ReplicationID):
		return ReplicaTookOver
	default:
		return ""
	}
}

// emptied says what happened to a Redis without a canary. A server that is emptied keeps both IDs, and one that is
// restarted gets another run ID.
func (i QueueIdentity) emptied(known QueueIdentity) string {
	switch {
	case differ(i.RunID, known.RunID):
		return QueueRestartedEmpty
	case same(i.RunID, known.RunID) && !differ(i.ReplicationID, known.ReplicationID):
		return QueueEmptied
	default:
		return CanaryGone
	}
}

func (i QueueIdentity) hasOtherIDs(known QueueIdentity) bool {
	return differ(i.RunID, known.RunID) || differ(i.ReplicationID, known.ReplicationID)
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }

func same(a, b string) bool { return a != "" && a == b }

// Older reports whether Redis has a canary, and another one than the database has stored. Then Redis or the database may
// have gone back to an earlier state.
func (i QueueIdentity) Older(known QueueIdentity) bool {
	return i.Canary != "" && i.Canary != known.Canary
}

// Over returns the identity i with empty IDs and empty shards filled from an earlier identity. If an ID of i differs
// from the earlier one, Over leaves empty shards empty, because the earlier shards may be of other masters.
func (i QueueIdentity) Over(known QueueIdentity) QueueIdentity {
	if i.Shards == "" && !i.hasOtherIDs(known) {
		i.Shards = known.Shards
	}
	if i.RunID == "" {
		i.RunID = known.RunID
	}
	if i.ReplicationID == "" {
		i.ReplicationID = known.ReplicationID
	}
	return i
}

// IdentifiedQueue reads the identity of Redis and writes its canary. Its methods are safe for concurrent use.
type IdentifiedQueue interface {
	// Identify reads the identity of Redis. name is the name of the canary. Errors: domain.CodeUnavailable.
	Identify(ctx context.Context, name string) (QueueIdentity, error)

	// IdentifyAnew does what Identify does, over connections that nothing has used before. Errors: those of Identify.
	IdentifyAnew(ctx context.Context, name string) (QueueIdentity, error)

	// Mark replaces any present canary by the parameter next. Errors: domain.CodeUnavailable; then the new canary may
	// have been written or not.
	Mark(ctx context.Context, name, next string) error

	// Advance replaces the canary by the parameter next, in one atomic step, if the canary in Redis equals the
	// parameter known. In a Redis Cluster Advance does so for each canary, one after another. Advance reports whether
	// every canary is the new one now. Errors: those of Mark.
	Advance(ctx context.Context, name, known, next string) (bool, error)

	// Renew is called after a loss: it forgets which queues were announced to
	// Redis, so that they are announced again.
	Renew()
}

// QueueRecord is what the database stores about Redis and about itself, to recognise a loss.
type QueueRecord struct {
	// Name is the name of the canary. No other outbox that uses the same Redis has this name.
	Name     string
	Identity QueueIdentity // with an empty canary: the queue was never seen
	// Before is the canary that the last renewal replaced. Redis may still have it: a renewal writes the new canary to
	// the database first, and if Redis does not answer then, a later check of the leader writes it to Redis. Before is
	// "" if the canary was not renewed since the last heal.
	Before   string
	Heal     Heal
	Database DatabaseIdentity
	History  time.Duration // how long the history keeps events; 0: there is no history
	HealedAt time.Time     // zero: never
}

// Heal is the last heal that began.
type Heal struct {
	// Canary is written to Redis by the heal. It is "" if the heal has ended.
	Canary string
	Reason string
}

// Loss returns why Redis may have lost data, in the words of QueueIdentity.Change; "" if there is no sign of a loss. The
// parameter seen is the identity that Redis has now. A renewal that has not reached Redis yet is no sign, however long
// it takes. During a heal Loss returns the reason of the heal, or "" if the reason is that PostgreSQL went back.
func (r QueueRecord) Loss(seen QueueIdentity) string {
	known := r.Identity
	switch {
	case known.Canary == "":
		return ""
	case r.IsHealing(seen) && OfDatabase(r.Heal.Reason):
		return ""
	case r.IsHealing(seen):
		return r.Heal.Reason
	case seen.Canary != "" && seen.Canary == r.Before:
		known.Canary = r.Before
	}
	return seen.Change(known)
}

// IsHealing reports whether Redis has the canary of a heal that has not ended. The parameter seen is the identity that
// Redis has now. The canary of a heal does not tell what Redis lost before.
func (r QueueRecord) IsHealing(seen QueueIdentity) bool {
	return seen.Canary != "" && seen.Canary == r.Heal.Canary
}

// QueueMemory stores the identity of Redis in the database of the events. Its methods are safe for concurrent use,
// by any number of processes.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
type QueueMemory interface {
	// Recall returns the record.
	Recall(ctx context.Context) (QueueRecord, error)

	// BeginHeal stores that a heal begins, before the heal writes its canary to Redis, if the stored identity still
	// equals the parameter known.
	//
	// Errors: domain.CodeConflict if another process has replaced the stored identity.
	BeginHeal(ctx context.Context, known QueueIdentity, heal Heal) error

	// Remember replaces the stored identity by the parameter next, if it still equals the parameter known, and ends
	// the heal that has begun. If all events that Redis may have lost are in the outbox again, the parameter healed
	// is the reason why they were sent again. Otherwise it is "".
	//
	// Errors: domain.CodeConflict if another process has replaced the stored identity.
	Remember(ctx context.Context, known, next QueueIdentity, healed string) error

	// Database reads the identity of the database. Its answer may be half a minute old, unless a new connection was
	// opened since.
	Database(ctx context.Context) (DatabaseIdentity, error)

	// RememberDatabase stores the database's identity, and for how long the history keeps events from now on.
	RememberDatabase(ctx context.Context, is DatabaseIdentity, history time.Duration) error

	// Doubt records that the database may have gone back to an earlier state. From then on, as long as the history
	// reaches back to that moment, a task of an event that was emitted before it has no effect if the event does not
	// exist, or if another event of its ordering key has the turn. The acknowledgements that consumers with another
	// database wrote before are skipped. Doubt returns after about a second, when all database sessions have noticed.
	Doubt(ctx context.Context) error

	// Redrive puts events back into the outbox, and returns how many. Redrive waits for open batches that were
	// claimed before the call, and includes their events. If the outbox refuses an event, Redrive makes a dead letter
	// of it.
	//
	// After an error, the events that were already put back stay in the outbox. Calling Redrive again is harmless.
	Redrive(ctx context.Context, r Redrive) (int64, error)
}

// Redrive chooses events that were handed to Redis before the call, and that are neither confirmed nor dead. Events
// that have only deliveries are left out.
type Redrive struct {
	Window time.Duration // they were handed to Redis at most this long ago
	Except []string      // types that are left out, but not their deliveries
	Why    string        // for the journal
	// Slots are the slots of a Redis Cluster whose data may be lost. Events of queues in other slots are left out.
	// nil: none are left out.
	Slots *Slots
}
