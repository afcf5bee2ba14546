// Package logging writes the log: its format, and a writer that nobody who does
// not read can hold up. What is logged, and when, is decided where it happens.
package logging
