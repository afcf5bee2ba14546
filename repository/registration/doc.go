// Package registration keeps the example's data in PostgreSQL: users, their
// notifications, and the Idempotency-Keys of registrations.
//
// The example uses the outbox as any other producer and consumer does.
package registration
