// Package lookup looks for single tasks in Redis, in the places where a worker
// finds them: whether a task is there, in which state, and whether only remains
// of it are left.
//
// Package inspect looks at Redis and its queues as a whole.
package lookup
