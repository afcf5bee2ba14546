package pipeline

import "time"

// A Watcher is told of tasks at the head of a queue whose type is not in
// Options.Types. It is called by one goroutine.
type Watcher interface {
	// Blocked says whether such a task is at the head of a queue.
	Blocked(queue string, blocked bool)
	// Unknown names the type of such a task, once.
	Unknown(queue, taskType string)
	// Left says that such a task has been at the head for half a minute, so that no
	// worker seems to take it. It is called again while it returns false.
	Left(queue, taskType, taskID string, since time.Time) bool
}

// A Gate is asked by one goroutine before each task that is taken.
type Gate interface {
	// Pause returns how long no task should be taken; 0: it may be now.
	Pause() time.Duration
	// Took notes that a task was taken.
	Took()
}

// nobody is the Watcher if Options has none.
type nobody struct{}

func (nobody) Blocked(string, bool)                        {}
func (nobody) Unknown(string, string)                      {}
func (nobody) Left(string, string, string, time.Time) bool { return true }
