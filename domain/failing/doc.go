// Package failing is about events whose tasks failed and wait for a retry. The package joins the rows of these
// events in the database with their tasks in Redis. It lists the tasks, retries them at once, or gives them up.
//
// The worker retries tasks and gives them up by itself; this package does so earlier, when a person asks for it.
package failing
