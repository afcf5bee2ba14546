package pipeline

import "time"

// A Watcher learns of tasks at the head of a queue whose type is not in
// Options.Types. One goroutine calls it.
type Watcher interface {
	// Blocked says whether a task of an unknown type is at the head of a queue.
	Blocked(queue string, blocked bool)
	// Unknown names an unknown type at the head of a queue, once for each type.
	Unknown(queue, taskType string)
	// Left says that a task of an unknown type has been at the head for half a
	// minute, so probably no worker takes it. Left is called again later if it
	// returns false.
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
