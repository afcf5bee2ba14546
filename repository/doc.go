// Package repository keeps outboxd's data in PostgreSQL. Package repository claims due
// events and settles them, keeps the order per key, emits events, and records which
// relays run. Package confirm is the worker's side of the same tables.
//
// Most subpackages of repository each do one kind of work on the same tables, such as
// housekeeping, healing losses, or reading for the pages and commands. Package stored
// describes the columns and tables of an event. Package postgres connects to the server.
package repository
