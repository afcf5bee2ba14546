// Package logging writes the log: its format, and a writer that does not block
// when nobody reads. Other packages decide what is logged, and when.
package logging
