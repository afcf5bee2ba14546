package live

import (
	"sync"
	"time"
)

// remembered is how long a result is cached.
const remembered = 5 * time.Second

// Memory caches the last result for each name, so that many open pages do not each read it
// anew. Memory never removes a name, so use only a few names. Memory is safe for concurrent
// use.
type Memory struct {
	mu    sync.Mutex
	known map[string]memo
}

type memo struct {
	at   time.Time
	body []byte
}

// Recall returns the cached result for a name. If there is none, or if it is too old, Recall calls
// the function produce for a new one. Errors are not cached.
func (m *Memory) Recall(name string, produce func() ([]byte, error)) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.known[name]; ok && time.Since(known.at) < remembered {
		return known.body, nil
	}
	body, err := produce()
	if err != nil {
		return nil, err
	}
	if m.known == nil {
		m.known = map[string]memo{}
	}
	m.known[name] = memo{time.Now(), body}
	return body, nil
}
