package work

import (
	"sync"
	"time"
)

const (
	// tallyEvery is the time between two lines of the log about tasks of one type.
	tallyEvery = time.Minute
	// tallyTypes bounds the types that are told apart.
	tallyTypes = 100
)

// tally says when the log has to say something about tasks of a type: of each type at
// once, and then once a minute with their number. It is safe for concurrent use.
type tally struct {
	mu    sync.Mutex
	types map[string]*tallied
}

type tallied struct {
	said  time.Time
	tasks int // since then
}

// count counts a task. It returns how many there were since the last line, this one
// included; 0: no line is due.
func (t *tally) count(kind string, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.types == nil {
		t.types = map[string]*tallied{}
	}
	of, known := t.types[kind]
	if !known {
		if len(t.types) >= tallyTypes {
			kind = ""
		}
		if of = t.types[kind]; of == nil {
			of = &tallied{}
			t.types[kind] = of
		}
	}
	of.tasks++
	if now.Sub(of.said) < tallyEvery {
		return 0
	}
	tasks := of.tasks
	of.said, of.tasks = now, 0
	return tasks
}
