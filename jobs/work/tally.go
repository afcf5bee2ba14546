package work

import (
	"sync"
	"time"
)

const (
	// tallyEvery is the time between two log lines about tasks of one type.
	tallyEvery = time.Minute
	// tallyTypes bounds the types that are counted separately. All further types count as one.
	tallyTypes = 100
)

// tally decides when to log a line about tasks of a type: at once for the first task of each type, and then at
// most once a minute with the number of tasks. tally is safe for concurrent use.
type tally struct {
	mu    sync.Mutex
	types map[string]*tallied
}

type tallied struct {
	said  time.Time
	tasks int // since then
}

// count is called for each task of a type. If a log line is due, it returns how many tasks of the type came since
// the last line, including this one; otherwise 0.
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
