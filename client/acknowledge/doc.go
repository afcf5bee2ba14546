// Package acknowledge sends acknowledgements through Redis: from consumers whose effects are in another database,
// back to the outbox.
//
// The acknowledgements are entries of one Redis stream. Every outbox on a Redis reads the stream from its own
// position, and accepts only the acknowledgements of its own events. For this purpose the task of an event has a
// header that names the event's outbox. The consumer copies the header into the acknowledgement. So consumers need
// not know to which outbox an event belongs. Several outboxes can share a Redis, even if one was restored from a
// dump of another. If an acknowledgement is lost, the event stays unconfirmed and is sent again later. As long as
// the consumer's inbox has the event, the repeat takes no effect, and the consumer acknowledges it again.
package acknowledge
