// Package faulttest simulates faults between a client and its server. Proxy stalls
// or refuses connections, or breaks one at a chosen point of an exchange (see
// Trap). FaultProxy, for Redis, gives a chosen answer to a chosen command; Faults
// lists the answers to try.
//
// The package is for tests only. Packages postgrestest and redistest, below servertest, have
// servers that can crash, run out of disk space or lose their data.
package faulttest
