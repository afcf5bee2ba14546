// Package acknowledge carries acknowledgements from consumers whose rows are in
// another database back to the outbox, through Redis.
//
// They are a stream that every outbox on a Redis reads from where it left off,
// taking what is of its own events. So nobody needs to know whose an event is,
// and several outboxes share a Redis. One that is lost costs a repeat: the event
// stays unconfirmed, is sent again sooner or later, meets the consumer's inbox, has no
// effect, and is acknowledged once more.
package acknowledge
