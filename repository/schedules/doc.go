// Package schedules stores the schedules of a database and emits their events. Package
// schedules computes when a schedule ticks. A condition in the SQL statement ensures that
// a tick becomes at most one event, even if two processes emit it.
package schedules
