// Package failing is about events whose tasks failed and wait for a retry. The package joins the rows of these
// events in the database with their tasks in Redis. It lists the tasks, retries them at once, or gives them up.
//
// The worker decides when a task is retried, and after how many attempts it is given up.
package failing
