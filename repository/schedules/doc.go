// Package schedules has the schedules of a database, and emits their events. When a
// schedule ticks is decided here; that each tick is one event is decided by the
// condition of a statement, whoever runs it.
package schedules
