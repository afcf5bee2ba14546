// Package lives says where single events are: their states, the search for events, the
// record of one event, and the timeline that joins what the database and Redis know.
// Package lives also says where an event's deliveries are, and which ordering keys hold
// events back.
//
// The package search of repository implements Reader. What Redis knows of a task is in
// the package queued.
package lives
