// Package figures joins what the database and the queue know of each event type and of
// each queue: how much passes and how long it takes, what fails, and what waits.
//
// Package figures decides nothing: package diagnosis judges whether a figure is a problem.
package figures
