// Package schedules stores the schedules of a database and emits their events. Package
// schedules computes when a schedule ticks. A condition in the statement emitSQL ensures
// that a tick becomes at most one event, even if two processes try to emit it.
package schedules
