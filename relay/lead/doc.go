// Package lead has the work that one relay, the leader, does for all relays. The leader is elected by a lock in
// PostgreSQL. The leader creates and drops partitions, deletes old rows, measures the backlog, and releases held
// events that a crash left behind. The leader also watches Redis for a loss of all data (healer), for lost single
// tasks (reconciler), for archived tasks (archivist), and for acknowledgements of consumers with another database
// (acknowledger). The leader counts the tasks in Redis, and deletes the tasks of events that were taken back. The
// leader cancels and reschedules events for producers (changer), emits the events of schedules (scheduler), and
// finishes abandoned replays (replayer).
//
// Relays publish events without the leader: if the leader fails, relaying continues. This package only schedules
// the work. Other packages implement the single steps, behind domain.Housekeeping and other interfaces.
package lead
