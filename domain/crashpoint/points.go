// Package crashpoint names the places between two steps at which a process may
// die. In a build with the tag crashpoints a process kills itself there, or
// stops; in any other build nothing is left of them.
package crashpoint

// Point is a place between two steps.
type Point string

// The points of the relay: of its pass, and of the healing.
const (
	RelayClaimed   Point = "relay-claimed"   // and nothing is published
	RelayPublished Point = "relay-published" // and what was not delivered is not settled
	RelaySettled   Point = "relay-settled"   // it is, and nothing is committed
	RelayCommitted Point = "relay-committed" // and no ordering key is advanced

	QueueMarked      Point = "queue-marked"      // a new queue has its first canary, and PostgreSQL does not know it
	CanaryRemembered Point = "canary-remembered" // and the queue has the old one
	HealMarked       Point = "heal-marked"       // the new canary is there, and nothing is put back
	HealBatch        Point = "heal-batch"        // some of the events are put back
	HealRedriven     Point = "heal-redriven"     // all are, and PostgreSQL remembers the old canary
	HealRemembered   Point = "heal-remembered"
)

// The points of the worker.
const (
	WorkerBegan     Point = "worker-began"     // the inbox row is written, the effect not begun
	WorkerEffected  Point = "worker-effected"  // it is, and nothing is committed
	WorkerAsked     Point = "worker-asked"     // the event is to take effect outside the database, which has not begun
	WorkerSent      Point = "worker-sent"      // it has happened, and nothing is written
	WorkerCommitted Point = "worker-committed" // and Asynq does not know that the task is done
	WorkerBuried    Point = "worker-buried"    // a dead letter is written, and the task not archived
)

// The points of a person's replay.
const (
	ReplayWritten   Point = "replay-written"   // it is, and nothing is committed
	ReplayCommitted Point = "replay-committed" // and the caller has no answer yet
)
