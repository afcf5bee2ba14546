// Package daemon runs the chosen roles in one process: it opens what they need,
// starts their actors, starts again what fails, and takes everything down in order. What
// the roles do is not decided here.
package daemon
