// Package export writes dead letters or events as CSV or JSON. It holds only one page of them in
// memory.
package export
