// Package lives says where single events are: their states, the search for events, the
// record of one event, and the timeline that joins what the database and Redis know.
// Deliveries of an event and ordering keys that hold events back are part of it.
//
// The package search of repository implements Reader. What Redis knows of a task is in
// the package queued.
package lives
