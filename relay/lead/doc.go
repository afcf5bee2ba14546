// Package lead is the work that one relay, the leader, does for all relays. The
// leader is elected by a lock in PostgreSQL. It keeps the partitions, trims and
// measures, passes on turns that were lost, and watches Redis. There it looks for
// a loss of all data (healer) or of single tasks (reconciler), for archived tasks
// (archivist), for tasks of cancelled events, and for acknowledgements of
// consumers with another database.
//
// An event on its way from the outbox to the queue does not need the leader: if
// the leader fails, relaying continues. Other packages implement the single steps,
// as domain.Housekeeping and the other interfaces.
package lead
