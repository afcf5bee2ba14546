// Package logging has the format of the log, and a writer that does not block for
// long when nobody reads the log. Other packages decide what to log, and when.
package logging
