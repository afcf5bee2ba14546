// Package retries reads and changes the tasks that failed and wait to be tried
// again: it lists and groups them, makes them due now, and gives them up.
//
// It knows no events. What becomes of the event of a task that was given up is
// decided elsewhere.
package retries
