// Package acknowledge carries acknowledgements from consumers with another database
// back to the outbox, through Redis.
//
// They are a stream in Redis. Every outbox on a Redis reads the stream from its own
// position, and accepts acknowledgements of its own events: the task of an event carries
// a mark of its outbox, which the acknowledgement returns. So consumers need not know to
// which outbox an event belongs, and several outboxes can share a Redis, also copies of
// one another. A
// lost acknowledgement costs a repeat: the event stays unconfirmed and is sent again
// later. The consumer's inbox recognises it, so it has no effect, and it is
// acknowledged again.
package acknowledge
