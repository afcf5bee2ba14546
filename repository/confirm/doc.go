// Package confirm records in PostgreSQL that events took effect. A worker confirms an event in the
// transaction of its effect, so the two are committed together or not at all. Consumers that write
// to no database of outboxd's acknowledge over Redis, and the relay records that here.
//
// Package confirm does not claim events or carry out tasks. The rules of confirming, such as the
// turn of the next event of a key, are in the triggers of the schema.
package confirm
