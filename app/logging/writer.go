package logging

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// patience bounds how long a line may hold up whoever logs it.
const patience = time.Second

// writer writes lines to where the log goes. It never fails, and blocks for no longer than
// patience: a full disk, a closed pipe or a reader that does not read cost lines and
// nothing else. It is safe for concurrent use, and keeps the lines in order.
type writer struct {
	w io.Writer
	// notice makes the line that says how many were lost before it. nil: none is wanted.
	notice func(lost int) []byte

	mu    sync.Mutex
	stuck bool // in a write that has lasted for longer than patience
	lost  int  // lines since the last notice that was written
}

// Steady returns a writer to w that never fails, and blocks for no longer than a second: nobody may read it any more.
func Steady(w io.Writer) io.Writer { return &writer{w: w} }

// Write implements io.Writer. It never returns an error.
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

// text is a line, which stays the caller's, behind a notice of those that were lost.
func (l *writer) text(line []byte) []byte {
	if l.lost == 0 || l.notice == nil {
		return bytes.Clone(line)
	}
	return append(l.notice(l.lost), line...)
}

// await waits for a write that nobody can end.
func (l *writer) await(lost int, written <-chan error) {
	err := <-written
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = false
	l.account(lost, err)
}

// account notes what became of a line that said how many were lost before it.
func (l *writer) account(lost int, err error) {
	if err != nil {
		l.lost++
		return
	}
	l.lost -= lost
}
