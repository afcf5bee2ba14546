// Package replay carries out a person's command to replay or discard dead letters, batch by batch. Its Pace limits a
// replay, and a retry of failing events, to a rate, and first tries a few events (the canary).
//
// The implementation of domain.DeadLetters decides how a dead letter becomes a pending event again.
package replay
