// Package registration keeps the example's data in PostgreSQL: users, their
// notifications, and the Idempotency-Keys of registrations.
//
// The example writes events as any other producer does.
package registration
