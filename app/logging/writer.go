package logging

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// patience is how long logging a line may block.
const patience = time.Second

// writer writes the log's lines. writer never returns an error, and waits for patience at
// most for each line. A full disk or a reader that hangs costs log lines and nothing
// else. writer is safe for concurrent use, and keeps the lines in order.
type writer struct {
	w io.Writer
	// notice returns a log line that says how many lines were lost. If notice is nil, the writer does not report lost
	// lines.
	notice func(lost int) []byte

	mu    sync.Mutex
	stuck bool // a write has lasted longer than patience
	lost  int  // lines lost since the last notice
}

// Steady returns a writer that writes to w, never returns an error and blocks for a second at most. Use it for outputs
// that nobody may be reading any more.
func Steady(w io.Writer) io.Writer { return &writer{w: w} }

// Write implements io.Writer. Write never returns an error.
func (l *writer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		l.lost++
		return len(line), nil
	}
	lost := l.lost
	written := make(chan error, 1)
	go func(text []byte) { _, err := l.w.Write(text); written <- err }(l.text(line))
	patience := time.NewTimer(patience)
	defer patience.Stop()
	select {
	case err := <-written:
		l.account(lost, err)
	case <-patience.C:
		l.stuck = true
		go l.await(lost, written)
	}
	return len(line), nil
}

// text returns a copy of the line. If lines were lost, the notice about them comes
// first.
func (l *writer) text(line []byte) []byte {
	if l.lost == 0 || l.notice == nil {
		return bytes.Clone(line)
	}
	return append(l.notice(l.lost), line...)
}

// await waits for the end of a write that did not end in time, because a write
// cannot be interrupted.
func (l *writer) await(lost int, written <-chan error) {
	err := <-written
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = false
	l.account(lost, err)
}

// account is called after each write, and updates the count of lost lines.
func (l *writer) account(lost int, err error) {
	if err != nil {
		l.lost++
		return
	}
	l.lost -= lost
}
