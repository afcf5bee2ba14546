package pipeline

import "time"

// A Watcher learns of tasks at the head of a queue whose type is not in
// Options.Types. One goroutine calls it.
type Watcher interface {
	// Blocked is called with true when a request has found a task of an unknown type at the head
	// of a queue and taken nothing. It is called with false when a later request finds no such
	// task at the head.
	Blocked(queue string, blocked bool)
	// Unknown is called once for each unknown type that such a request finds, for up to a hundred
	// types of one queue.
	Unknown(queue, taskType string)
	// Left is called when a task of an unknown type has been at the head of a queue
	// for half a minute, so probably no worker takes it. If Left returns false, it
	// is called again later.
	Left(queue, taskType, taskID string, since time.Time) bool
}

// A Gate decides when the next task may be taken. One goroutine asks it before each
// task.
type Gate interface {
	// Pause returns how long to wait before the next task is taken; 0: take it now.
	Pause() time.Duration
	// Took records that a task was taken.
	Took()
}

// nobody is the Watcher that is used if Options has none. It does nothing.
type nobody struct{}

func (nobody) Blocked(string, bool)                        {}
func (nobody) Unknown(string, string)                      {}
func (nobody) Left(string, string, string, time.Time) bool { return true }
