// Package pace has the ways in which the parts of a relay wait: for how long after
// a failure, and how a wait ends early. It knows nothing of events.
package pace
