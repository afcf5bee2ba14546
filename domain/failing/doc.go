// Package failing is about events whose tasks failed and wait for a retry. It joins their rows in the database with
// their tasks in Redis: it lists them, retries them at once, or gives them up.
//
// The worker decides when a task is retried, and after how many attempts it is given up.
package failing
