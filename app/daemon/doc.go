// Package daemon runs the chosen roles in one process. The package opens what they
// need, starts their actors, restarts an actor that fails, and stops everything in
// order. Other packages decide what the roles do.
package daemon
