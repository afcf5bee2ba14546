// Package retries lists and groups the failed tasks that wait for their next attempt.
// Package retries can make these tasks due now, and can archive them.
//
// Package retries does not know the events of these tasks. The caller decides what
// happens to the event of an archived task.
package retries
