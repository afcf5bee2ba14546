// Package registration keeps the example's data in PostgreSQL: users, what was
// sent to them, and which Idempotency-Key belongs to which user.
//
// It uses the outbox as any other producer and consumer does.
package registration
