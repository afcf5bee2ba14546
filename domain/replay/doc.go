// Package replay sends dead letters again, or gives them up, batch by batch, as a
// person asked for: with a rate, and after a canary has succeeded.
//
// How one letter becomes an event again is for what implements domain.DeadLetters.
package replay
