// Package lead is what one relay does for all of them: it is elected by a lock in
// PostgreSQL, keeps the partitions, trims and measures, passes turns on that were
// lost, and watches Redis. There it looks for a loss of all data (healer) and of
// single tasks (reconciler), for tasks that were archived (archivist) or belong to
// cancelled events, and for acknowledgements of consumers with another database. It
// goes on with replays to subscriptions that nobody else brings to their end.
//
// Nothing of it is on an event's way from the outbox to the queue: where the
// leader fails, relaying goes on. How each step is done is for what implements
// domain.Housekeeping and the other interfaces.
package lead
