// Package daemon runs the chosen roles in one process. The package opens the servers that
// the roles need, starts the actors of the roles, restarts most actors that fail, and stops
// everything in order. Other packages decide what the roles do.
package daemon
