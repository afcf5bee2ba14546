// Package retries lists and groups the failed tasks that wait for their next attempt. It
// can make them due now, and can archive them.
//
// It does not know the events of these tasks. The caller decides what happens to the
// event of an archived task.
package retries
