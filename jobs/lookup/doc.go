// Package lookup looks for single tasks in Redis, in the places where a worker would find
// them. Package lookup says whether a task is there and in which state, or whether only
// remains of it are left. Package lookup can also delete tasks and such remains.
//
// Package inspect looks at Redis and its queues as a whole.
package lookup
