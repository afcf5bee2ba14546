// Package repository keeps outboxd's data in PostgreSQL: the outbox, what
// became of its events, and the inbox.
//
// Errors leave the package with a domain code. What the data means is not decided
// here. The connection itself is in the package postgres.
package repository
