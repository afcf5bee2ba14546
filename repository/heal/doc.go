// Package heal puts events back into the outbox that were handed to the queue and may
// be lost: all of them after the queue or this database went back, single ones that
// the queue does not have, and those that a person names. It also stores the marks by
// which queue and database are recognised. It does not notice a loss by itself: the
// relay does.
package heal
