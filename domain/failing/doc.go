// Package failing joins what the database and the queue know of events whose tasks
// failed and wait to be tried again: it marks and lists them, makes their next
// attempt now, and gives them up.
//
// When a task is tried again, and after how many attempts it is given up, is for the
// worker.
package failing
