// Package tally counts the events that have taken effect during a benchmark, and waits
// until all have. It does not measure time.
package tally
