// Package repository keeps outboxd's data in PostgreSQL: it claims due events and
// settles them, keeps the order per key and the inbox, emits events, and knows which
// relays are present.
//
// Packages below it have the reading for people, the housekeeping, healing, dead
// letters and the facts for doctor. Package stored has the columns and tables of an
// event, and package postgres has the connection. Errors leave with a domain code.
// The rules are decided in domain, not here.
package repository
