// Package deliver sends events to receivers over HTTP: signed by the Standard
// Webhooks scheme (standardwebhooks.com), as they are or as CloudEvents.
//
// It knows nothing of Asynq, Redis or the database. Sender sends one delivery and
// says what became of it; Receiver adds what holds for all deliveries to one
// receiver, a breaker and a limiter. When a delivery is sent again is for the caller
// to decide; each one carries its event's ID, so that the receiver can tell a repeat.
package deliver
