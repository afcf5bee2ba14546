// Package broker has what the packages below jobs share about Redis: the handle that a
// process opens once, the names of the keys, the meaning of Redis's replies, and notes
// that workers leave in Redis for other processes.
//
// Package broker enqueues no task, runs no task and looks for no task.
package broker
