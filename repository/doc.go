// Package repository keeps outboxd's data in PostgreSQL: the outbox and what
// became of its events, the inbox, the example's users and notifications.
//
// Errors leave the package with a domain code. What the data means is not decided
// here. The connection itself is in the package postgres.
package repository
