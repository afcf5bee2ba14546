// Package costing measures what one event costs on the servers of a benchmark: times
// of processors, bytes and flushes. Package plan computes from these costs which limit
// comes first.
package costing
