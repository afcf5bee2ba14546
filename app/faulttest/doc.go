// Package faulttest plays faults between a client and its server: a proxy that
// stalls, refuses, or breaks one exchange (traps), and one for Redis that gives a
// chosen answer to a chosen command, with the list of all answers to try.
//
// It is for tests only. A server that dies, is full or forgets is package
// servertest's.
package faulttest
