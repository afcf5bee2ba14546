// Package repository keeps outboxd's data in PostgreSQL: claiming due events and
// settling them, order per key, the inbox, emitting, and the relays that are
// present.
//
// What is read for people, the housekeeping, healing, dead letters and doctor's
// facts have packages below; the columns and places of an event are in stored, the
// connection itself in postgres. Errors leave with a domain code. What the data means
// is not decided here.
package repository
