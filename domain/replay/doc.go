// Package replay carries out a person's command to replay or discard dead letters, batch by batch. A replay may be
// limited to a rate, and may first try a few dead letters (the canary).
//
// The implementation of domain.DeadLetters decides how a dead letter becomes a pending event again.
package replay
