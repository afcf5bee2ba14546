// Package crashpoint names the places between two steps at which a process may
// die. In a build with the tag crashpoints, a process kills or suspends itself
// at the point that an environment variable names. In any other build Reach
// does nothing.
package crashpoint

// Point is a place between two steps.
type Point string

// The points of the relay: in a pass (claim, publish, settle), and in healing.
const (
	RelayClaimed   Point = "relay-claimed"   // the batch is claimed, nothing is published
	RelayPublished Point = "relay-published" // the batch is published, what failed is not settled
	RelaySettled   Point = "relay-settled"   // what failed is settled, nothing is committed
	RelayCommitted Point = "relay-committed" // the batch is committed, no ordering key is advanced

	QueueMarked      Point = "queue-marked"      // a new queue has its first canary, PostgreSQL does not know it
	CanaryRemembered Point = "canary-remembered" // PostgreSQL knows the new canary, the queue has the old one
	HealMarked       Point = "heal-marked"       // the queue has the new canary, no event is put back
	HealBatch        Point = "heal-batch"        // some events are put back
	HealRedriven     Point = "heal-redriven"     // all events are put back, PostgreSQL knows the old canary
	HealRemembered   Point = "heal-remembered"
)

// The points of the worker.
const (
	WorkerBegan     Point = "worker-began"     // the inbox row is written, the effect has not begun
	WorkerEffected  Point = "worker-effected"  // the effect is written, nothing is committed
	WorkerAsked     Point = "worker-asked"     // the inbox was asked, the effect outside the database has not begun
	WorkerSent      Point = "worker-sent"      // the effect outside has happened, nothing is written
	WorkerCommitted Point = "worker-committed" // the effect is committed, Asynq does not know that the task is done
	WorkerBuried    Point = "worker-buried"    // the dead letter is written, the task is not archived
)

// The points of a replay of dead letters by a person.
const (
	ReplayWritten   Point = "replay-written"   // the replay is written, nothing is committed
	ReplayCommitted Point = "replay-committed" // the replay is committed, the caller has no answer yet
)

// The points of a replay to a subscription.
const (
	DeliveriesMade   Point = "deliveries-made"   // the deliveries of one piece of the history are made, nothing is committed
	DeliveriesKept   Point = "deliveries-kept"   // the piece is committed
	DeliveriesOpened Point = "deliveries-opened" // the replay has ended, and no ordering key is advanced
)

// The points of schedules.
const (
	ScheduleDecided Point = "schedule-decided" // which ticks to emit is decided, nothing is written
	ScheduleEmitted Point = "schedule-emitted" // their events are committed, the leader has not gone on
)
