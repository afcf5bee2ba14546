// Package faulttest plays faults between a client and its server. One proxy
// stalls, refuses, or breaks a chosen exchange (traps). Another one, for Redis,
// gives a chosen answer to a chosen command, and there is a list of answers to
// try.
//
// It is for tests only. Servers that die, are full or forget are in package
// servertest.
package faulttest
