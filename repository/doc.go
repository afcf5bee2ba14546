// Package repository keeps outboxd's data in PostgreSQL. Package repository claims due
// events and settles them, keeps the order per key and the inbox, emits events, and
// records which relays run.
//
// The subpackages of repository read data for the pages and commands, do the
// housekeeping, heal losses, keep dead letters, and collect the facts for outboxd doctor.
// Package stored describes the columns and tables of an event. Package postgres connects
// to the server.
package repository
