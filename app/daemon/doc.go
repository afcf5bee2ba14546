// Package daemon runs the chosen roles in one process. The package opens the servers that
// the roles need, starts the actors of the roles, restarts an actor that fails, and stops
// everything in order. Other packages decide what the roles do.
package daemon
