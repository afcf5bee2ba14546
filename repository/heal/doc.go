// Package heal puts events back into the outbox that were published and may be lost.
// After the queue or this database went back to an older state, package heal puts back
// all events that may be lost. Otherwise it puts back events that the queue does not
// have, or that a person chooses. Package heal also stores the marks by which outboxd
// recognises the queue and the database. The relay notices a loss, and not package heal.
package heal
