// Package lookup looks for single tasks in Redis, where a worker would find them:
// whether a task is there, in which state, and whether its remains hide that it
// is lost.
//
// What Redis and its queues are like is the subject of package inspect.
package lookup
