// Package app puts outboxd together: it reads the command line, opens what the
// chosen roles need, runs them as actors of one group, and takes everything
// down again in order. It is the only package that knows all others; what the
// roles do is not decided here.
package app

//go:generate go test -run ^TestManPages$ . -update
