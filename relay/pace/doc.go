// Package pace is how the parts of a relay wait: for how long after a failure, and
// on what that ends a wait early. It knows nothing of events.
package pace
