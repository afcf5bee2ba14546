// Package confirm records in PostgreSQL that events took effect. A worker confirms an event in the
// transaction of its effect, so the two are committed together or not at all. A consumer that
// writes to another database acknowledges the event over Redis. The leader reads the
// acknowledgement and confirms the event with package confirm.
//
// Package confirm does not claim events or carry out tasks. The rules of confirming are in the
// triggers of the schema. For example, a trigger gives the turn to the next event of a key.
package confirm
